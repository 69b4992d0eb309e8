#include "gpt2_modules.h"

#include "gguf/gpt2_tensors.h"

namespace gpt2::binding {

namespace {

const char* nameOf(ModulePlace place) {
  switch (place) {
    case ModulePlace::kInput:
      return "input";
    case ModulePlace::kLayer:
      return "layer";
    default:
      return "output";
  }
}

const char* nameOf(ModuleKind kind) {
  switch (kind) {
    case ModuleKind::kTable:
      return "table";
    case ModuleKind::kNorm:
      return "norm";
    default:
      return "linear";
  }
}

const char* nameOf(ModelSize size) {
  switch (size) {
    case ModelSize::kVocabSize:
      return "vocabSize";
    case ModelSize::kContextLength:
      return "contextLength";
    case ModelSize::kEmbeddingLength:
      return "embeddingLength";
    default:
      return "feedForwardLength";
  }
}

Napi::Object toJavaScript(Napi::Env env, const Extent& extent) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("size", nameOf(extent.size));
  object.Set("factor", static_cast<double>(extent.factor));
  return object;
}

}  // namespace

Napi::Array gpt2Modules(Napi::Env env) {
  Napi::Array array = Napi::Array::New(env);
  for (const Gpt2Module* module : kGpt2Modules) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("role", module->role);
    object.Set("name", module->name);
    object.Set("place", nameOf(module->place));
    object.Set("kind", nameOf(module->kind));
    object.Set("in", toJavaScript(env, module->in));
    object.Set("out", toJavaScript(env, module->out));
    object.Set("isOptional", module->isOptional);
    array.Set(array.Length(), object);
  }
  return array;
}

}  // namespace gpt2::binding
