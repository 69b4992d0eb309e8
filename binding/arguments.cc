#include "arguments.h"

#include "base/tensor_type.h"
#include "cancellation.h"

namespace gpt2::binding {

namespace {

[[noreturn]] void reject(const Napi::Value& value, const char* expected) {
  throw Napi::TypeError::New(value.Env(), std::string("Expected ") + expected);
}

}  // namespace

int64_t toInteger(const Napi::Value& value) {
  if (!value.IsNumber()) reject(value, "a number");
  return value.As<Napi::Number>().Int64Value();
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

ggml_type toTensorType(const Napi::Value& value) {
  if (const auto type = typeFromName(toString(value))) return *type;
  reject(value, "the name of a tensor type");
}

std::shared_ptr<CancelFlag> toCancelFlag(const Napi::Value& value) {
  if (value.IsUndefined()) return std::make_shared<CancelFlag>(false);
  return Cancellation::Unwrap(value.As<Napi::Object>())->flag();
}

}  // namespace gpt2::binding
