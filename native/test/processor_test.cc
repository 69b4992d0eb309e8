#include "base/processor.h"

#include "check.h"

// Tests are built where they run, for this very processor.
TEST(nothingIsMissingHere) { CHECK_EQUAL(gpt2::missingInstructionSets(), ""); }
