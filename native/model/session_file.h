#pragma once

#include <string>

#include "base/cancel_flag.h"
#include "model/model.h"
#include "model/session.h"

namespace gpt2 {

// Files of sessions: the tokens, and the keys and values of those that are evaluated, with the
// identity of the model and a checksum. Both on the worker thread.

// Writes a session. Throws FILE_UNWRITABLE and ABORTED.
void saveSession(const Model& model, const Session& session, const std::string& path,
                 const CancelFlag* cancelled);

// Replaces a session by the one in a file. Its keys and values are used if they are of the model's
// cache type and of the same kernels, and there is memory for them; else the next call evaluates
// the tokens again. Throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE (damaged, or of another
// model), CONTEXT_OVERFLOW, OUT_OF_MEMORY and ABORTED; the session is then unchanged.
void restoreSession(Model& model, Session& session, const std::string& path,
                    const CancelFlag* cancelled);

}  // namespace gpt2
