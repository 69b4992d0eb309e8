#include "arguments.h"

#include <cmath>

#include "base/tensor_type.h"
#include "cancellation.h"
#include "tagged_object.h"

namespace gpt2::binding {

namespace {

[[noreturn]] void reject(const Napi::Value& value, const std::string& expected) {
  throw Napi::TypeError::New(value.Env(), "Expected " + expected);
}

}  // namespace

int64_t toInteger(const Napi::Value& value, int64_t max) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  // Written so that NaN fails.
  if (!(number >= 0 && number <= static_cast<double>(max)) || number != std::floor(number)) {
    reject(value, "a whole number from 0 to " + std::to_string(max));
  }
  return static_cast<int64_t>(number);
}

double toNumber(const Napi::Value& value) {
  if (!value.IsNumber()) reject(value, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

bool toBoolean(const Napi::Value& value) {
  if (!value.IsBoolean()) reject(value, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string toString(const Napi::Value& value) {
  if (!value.IsString()) reject(value, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::vector<uint32_t> toTokens(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    reject(value, "a Uint32Array");
  }
  const auto array = value.As<Napi::Uint32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<double> toDoubles(const Napi::Value& value) {
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    reject(value, "a Float64Array");
  }
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

Napi::Float32Array toFloats(const Napi::Value& value, size_t length) {
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array ||
      value.As<Napi::TypedArray>().ElementLength() != length) {
    reject(value, "a Float32Array of " + std::to_string(length) + " numbers");
  }
  return value.As<Napi::Float32Array>();
}

Napi::Uint8Array toBytes(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    reject(value, "a Uint8Array");
  }
  return value.As<Napi::Uint8Array>();
}

Napi::Function toFunction(const Napi::Value& value) {
  if (!value.IsFunction()) reject(value, "a function");
  return value.As<Napi::Function>();
}

Napi::Array toArray(const Napi::Value& value) {
  if (!value.IsArray()) reject(value, "an array");
  return value.As<Napi::Array>();
}

Napi::Object toObject(const Napi::Value& value) {
  if (!value.IsObject()) reject(value, "an object");
  return value.As<Napi::Object>();
}

ggml_type toTensorType(const Napi::Value& value) {
  if (const auto type = typeFromName(toString(value))) return *type;
  reject(value, "the name of a tensor type");
}

std::shared_ptr<CancelFlag> toCancelFlag(const Napi::Value& value) {
  if (value.IsUndefined()) return std::make_shared<CancelFlag>(false);
  return unwrapTagged<Cancellation>(value, "a Cancellation").flag();
}

}  // namespace gpt2::binding
