#include "gguf_object.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "addon_data.h"
#include "arguments.h"
#include "base/tensor_type.h"
#include "gguf/model_files.h"

namespace gpt2::binding {

namespace {

// For longer arrays, such as a vocabulary, only the length is returned. A model of 48 layers has up
// to 290 absent biases.
constexpr uint64_t kMaxShownElements = 512;

// The description of a GGUF file, copied from its mapped bytes on a worker thread. Reading them on
// the JavaScript thread would stall the event loop at page faults. Reading them later would end the
// process if the file had been truncated.
struct ArrayValue {
  uint64_t length;
  std::vector<std::string> strings;
  bool hasStrings;
};

struct MetadataEntry {
  std::string key;
  std::variant<std::string, bool, double, ArrayValue> value;
  uint64_t end;  // offset of the next key
  GgufType type;
};

struct TensorEntry {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  size_t byteSize;
  size_t part;  // index of the file that it is in
  uint64_t offset;
};

struct Description {
  uint32_t version;
  size_t byteSize;
  std::vector<std::string> parts;
  std::vector<MetadataEntry> metadata;
  std::vector<TensorEntry> tensors;
};

uint64_t offsetIn(const GgufFile& file, const uint8_t* data) {
  return static_cast<uint64_t>(data - file.bytes().data());
}

std::variant<std::string, bool, double, ArrayValue> copyOf(const MetadataValue& value) {
  if (value.isArray) {
    ArrayValue array{value.count, {}, false};
    array.hasStrings = value.type == GgufType::kString && value.count <= kMaxShownElements;
    if (array.hasStrings) {
      value.forEachString([&](std::string_view text) { array.strings.emplace_back(text); });
    }
    return array;
  }
  if (const auto text = value.string()) return std::string(*text);
  const double number = value.number().value_or(0);
  if (value.type == GgufType::kBool) return number != 0;
  return number;
}

Description describe(const ModelFiles& files) {
  const GgufFile& first = files.first();
  Description description{first.version(), 0, {}, {}, {}};
  for (const auto& [key, value] : first.metadata()) {
    description.metadata.push_back({key, copyOf(value), offsetIn(first, value.end), value.type});
  }
  for (const auto& part : files.parts()) {
    for (const TensorInfo& tensor : part->tensors()) {
      const auto extents = tensor.shape.begin();
      description.tensors.push_back({tensor.name,
                                     typeName(tensor.type),
                                     {extents, extents + tensor.dimensionCount},
                                     tensor.byteSize,
                                     description.parts.size(),
                                     offsetIn(*part, tensor.data)});
    }
    description.byteSize += part->bytes().size();
    description.parts.push_back(part->path());
  }
  return description;
}

Napi::Value toJavaScript(Napi::Env env, const std::string& text) {
  return Napi::String::New(env, text);
}

Napi::Value toJavaScript(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }

Napi::Value toJavaScript(Napi::Env env, double value) { return Napi::Number::New(env, value); }

Napi::Value toJavaScript(Napi::Env env, int64_t value) {
  return toJavaScript(env, static_cast<double>(value));
}

template <typename T>
Napi::Array toJavaScript(Napi::Env env, const std::vector<T>& list) {
  Napi::Array array = Napi::Array::New(env, list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    array.Set(static_cast<uint32_t>(i), toJavaScript(env, list[i]));
  }
  return array;
}

Napi::Value toJavaScript(Napi::Env env, const ArrayValue& value) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("length", static_cast<double>(value.length));
  if (value.hasStrings) object.Set("strings", toJavaScript(env, value.strings));
  return object;
}

Napi::Value toJavaScript(Napi::Env env, const MetadataEntry& entry) {
  Napi::Array array = Napi::Array::New(env, 4);
  array.Set(0U, entry.key);
  array.Set(1U,
            std::visit([&](const auto& value) { return toJavaScript(env, value); }, entry.value));
  array.Set(2U, static_cast<double>(entry.end));
  array.Set(3U, static_cast<uint32_t>(entry.type));
  return array;
}

Napi::Value toJavaScript(Napi::Env env, const TensorEntry& tensor) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", tensor.name);
  object.Set("type", tensor.type);
  object.Set("shape", toJavaScript(env, tensor.shape));
  object.Set("byteSize", static_cast<double>(tensor.byteSize));
  object.Set("part", static_cast<double>(tensor.part));
  object.Set("offset", static_cast<double>(tensor.offset));
  return object;
}

Napi::Value toJavaScript(Napi::Env env, const Description& description) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("version", description.version);
  object.Set("byteSize", static_cast<double>(description.byteSize));
  object.Set("parts", toJavaScript(env, description.parts));
  object.Set("metadata", toJavaScript(env, description.metadata));
  object.Set("tensors", toJavaScript(env, description.tensors));
  return object;
}

}  // namespace

Napi::Value inspectGguf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return AddonData::of(env).calls.run(
      std::make_unique<AsyncCall>(env), std::make_shared<CancelFlag>(false),
      [path = toString(info[0])](AsyncCall&, const CancelFlag&) -> MakeResult {
        // Shared, since MakeResult is a std::function, which copies what it captures.
        auto description = std::make_shared<const Description>(describe(ModelFiles(path, true)));
        return [description](Napi::Env result, AsyncCall&) {
          return toJavaScript(result, *description);
        };
      });
}

}  // namespace gpt2::binding
