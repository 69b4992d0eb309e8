#pragma once

#include <ggml.h>
#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/cancel_flag.h"

// Converts JavaScript values to C++. lib/ validates what users pass, so a value that does not fit
// here is a bug in lib/. It throws a TypeError.
namespace gpt2::binding {

// The largest whole number up to which doubles are exact.
inline constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

// A whole number from 0 to `max`.
int64_t toInteger(const Napi::Value& value, int64_t max = kMaxSafeInteger);
double toNumber(const Napi::Value& value);
bool toBoolean(const Napi::Value& value);
std::string toString(const Napi::Value& value);
std::vector<uint32_t> toTokens(const Napi::Value& uint32Array);
std::vector<double> toDoubles(const Napi::Value& float64Array);
// Exactly `length` numbers.
Napi::Float32Array toFloats(const Napi::Value& value, size_t length);
Napi::Uint8Array toBytes(const Napi::Value& value);
Napi::Function toFunction(const Napi::Value& value);
Napi::Array toArray(const Napi::Value& value);
Napi::Object toObject(const Napi::Value& value);
ggml_type toTensorType(const Napi::Value& name);

// The flag of a Cancellation object, or a new one for undefined.
std::shared_ptr<CancelFlag> toCancelFlag(const Napi::Value& value);

}  // namespace gpt2::binding
