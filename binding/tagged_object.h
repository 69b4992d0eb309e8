#pragma once

#include <napi.h>

#include <string>

// Node-API unwraps any wrapped object or external, of any class. A type tag identifies the class,
// so that a foreign object is a TypeError instead of a wild pointer.
//
// A class T that is wrapped or passed as an external has a `static constexpr napi_type_tag kTag`,
// of 128 random bits.
namespace gpt2::binding {

// The native side of a JavaScript object. Throws a TypeError for any other value.
template <class T>
T& unwrapTagged(const Napi::Value& value, const char* expected) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag)) {
    throw Napi::TypeError::New(value.Env(), std::string("Expected ") + expected);
  }
  return *T::Unwrap(value.As<Napi::Object>());
}

// What the constructor of a wrapped class receives from native code.
template <class T>
Napi::Value toExternal(Napi::Env env, T& data) {
  Napi::External<T> external = Napi::External<T>::New(env, &data);
  external.TypeTag(&T::kTag);
  return external;
}

// Throws a TypeError if JavaScript calls the constructor.
template <class T>
T& fromExternal(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsExternal() ||
      !info[0].As<Napi::External<T>>().CheckTypeTag(&T::kTag)) {
    throw Napi::TypeError::New(info.Env(), "Illegal constructor");
  }
  return *info[0].As<Napi::External<T>>().Data();
}

}  // namespace gpt2::binding
