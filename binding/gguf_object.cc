#include "gguf_object.h"

#include "addon_data.h"
#include "arguments.h"
#include "base/tensor_type.h"
#include "gguf/model_files.h"

namespace gpt2::binding {

namespace {

// Longer arrays (a vocabulary) are told by their length alone. A model of 48 layers has up to 290
// absent biases.
constexpr uint64_t kShownElements = 512;

double offsetIn(const GgufFile& file, const uint8_t* data) {
  return static_cast<double>(data - file.bytes().data());
}

Napi::Value toJavaScript(Napi::Env env, const MetadataValue& value) {
  if (!value.isArray) {
    if (const auto text = value.string()) return Napi::String::New(env, text->data(), text->size());
    if (value.type == GgufType::kBool) return Napi::Boolean::New(env, value.number() != 0.0);
    return Napi::Number::New(env, value.number().value_or(0));
  }
  Napi::Object array = Napi::Object::New(env);
  array.Set("length", static_cast<double>(value.count));
  if (value.type == GgufType::kString && value.count <= kShownElements) {
    Napi::Array strings = Napi::Array::New(env);
    value.forEachString([&](std::string_view text) {
      strings.Set(strings.Length(), Napi::String::New(env, text.data(), text.size()));
    });
    array.Set("strings", strings);
  }
  return array;
}

Napi::Object toJavaScript(Napi::Env env, const TensorInfo& tensor) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", tensor.name);
  object.Set("type", typeName(tensor.type));
  Napi::Array shape = Napi::Array::New(env);
  for (int i = 0; i < tensor.dimensionCount; ++i) {
    shape.Set(static_cast<uint32_t>(i), static_cast<double>(tensor.shape[static_cast<size_t>(i)]));
  }
  object.Set("shape", shape);
  object.Set("byteSize", static_cast<double>(tensor.byteSize));
  object.Set("offset", offsetIn(*tensor.file, tensor.data));
  return object;
}

Napi::Value toJavaScript(Napi::Env env, const ModelFiles& files) {
  const GgufFile& first = files.first();
  Napi::Object object = Napi::Object::New(env);
  object.Set("version", first.version());
  Napi::Array metadata = Napi::Array::New(env);
  for (const auto& [key, value] : first.metadata()) {
    Napi::Array entry = Napi::Array::New(env, 4);
    entry.Set(0U, key);
    entry.Set(1U, toJavaScript(env, value));
    entry.Set(2U, offsetIn(first, value.end));
    entry.Set(3U, static_cast<uint32_t>(value.type));
    metadata.Set(metadata.Length(), entry);
  }
  object.Set("metadata", metadata);
  size_t byteSize = 0;
  Napi::Array parts = Napi::Array::New(env);
  Napi::Array tensors = Napi::Array::New(env);
  for (const auto& part : files.parts()) {
    byteSize += part->bytes().size();
    for (const TensorInfo& tensor : part->tensors()) {
      Napi::Object entry = toJavaScript(env, tensor);
      entry.Set("part", parts.Length());
      tensors.Set(tensors.Length(), entry);
    }
    parts.Set(parts.Length(), part->path());
  }
  object.Set("byteSize", static_cast<double>(byteSize));
  object.Set("parts", parts);
  object.Set("tensors", tensors);
  return object;
}

}  // namespace

Napi::Value inspectGguf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return AddonData::of(env).delivery.runApart(
      std::make_unique<Task>(env), std::make_shared<CancelFlag>(false),
      [path = toString(info[0])](uint64_t, const CancelFlag&) -> Delivery::Result {
        auto files = std::make_shared<const ModelFiles>(path, true);
        return [files](Napi::Env result, Task&) { return toJavaScript(result, *files); };
      });
}

}  // namespace gpt2::binding
