#pragma once

#include <ggml.h>
#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/cancel_flag.h"

// JavaScript values in, C++ values out. lib/ has validated them; what does not fit here is a
// mistake of ours, and throws a TypeError.
namespace gpt2::binding {

int64_t toInteger(const Napi::Value& value);
double toNumber(const Napi::Value& value);
bool toBoolean(const Napi::Value& value);
std::string toString(const Napi::Value& value);
std::vector<uint32_t> toTokens(const Napi::Value& uint32Array);
ggml_type toTensorType(const Napi::Value& name);

// The flag of a Cancellation object, or a new one for undefined.
std::shared_ptr<CancelFlag> toCancelFlag(const Napi::Value& value);

}  // namespace gpt2::binding
