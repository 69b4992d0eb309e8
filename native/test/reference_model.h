#pragma once

#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gguf_builder.h"
#include "random_numbers.h"

namespace gpt2::test {

// By the name in Hugging Face's config; GPT-2's if the name is empty.
inline double activationOf(const std::string& name, double x) {
  const double kPi = 3.14159265358979323846;
  if (name == "gelu") return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  if (name == "relu") return std::max(x, 0.0);
  if (name == "silu") return x / (1 + std::exp(-x));
  if (!name.empty() && name != "gelu_new") throw std::invalid_argument(name);
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x)));
}

struct ReferenceShape {
  size_t vocabulary = 61;
  size_t context = 48;
  size_t width = 24;
  size_t heads = 8;
  size_t layers = 2;
  size_t inner = 0;  // 0 means 4 × width, which is then omitted from the metadata
  bool ownHead = false;
  double epsilon = 1e-5;
  std::string activation = "";  // of gpt2_native.activation_function; omitted if empty
};

// A tensor: its bytes in the file and the values that they decode to.
struct ReferenceTensor {
  size_t in, out;  // a vector of length `in` if `out` is 0
  ggml_type type;
  std::string bytes;
  std::vector<double> values;

  double at(size_t row, size_t column) const { return values[row * in + column]; }
};

// A GPT-2 with random weights and a straightforward forward pass in double precision, one position
// after another. Only the conversion of number formats uses ggml.
class ReferenceModel {
 public:
  explicit ReferenceModel(const ReferenceShape& modelShape, uint64_t seed = 1)
      : shape_(modelShape), random_(seed) {
    if (shape_.inner == 0) shape_.inner = 4 * shape_.width;
    writesInner_ = modelShape.inner != 0;
    const size_t width = shape_.width;
    add("token_embd.weight", width, shape_.vocabulary, 0, 0.6);
    add("position_embd.weight", width, shape_.context, 0, 0.4);
    for (size_t i = 0; i < shape_.layers; ++i) {
      const std::string prefix = "blk." + std::to_string(i) + ".";
      addNorm(prefix + "attn_norm");
      addLinear(prefix + "attn_qkv", width, 3 * width);
      addLinear(prefix + "attn_output", width, width);
      addNorm(prefix + "ffn_norm");
      addLinear(prefix + "ffn_up", width, shape_.inner);
      addLinear(prefix + "ffn_down", shape_.inner, width);
    }
    addNorm("output_norm");
    if (shape_.ownHead) addMatrix("output.weight", width, shape_.vocabulary);
  }

  const ReferenceShape& shape() const { return shape_; }
  std::map<std::string, ReferenceTensor>& tensors() { return tensors_; }
  const std::map<std::string, ReferenceTensor>& tensors() const { return tensors_; }
  ReferenceTensor& tensor(const std::string& name) { return tensors_.at(name); }

  // Stores the tensor in another type. Its values are rounded to that type.
  void encode(const std::string& name, ggml_type type) {
    const ReferenceTensor& tensor = tensors_.at(name);
    const auto in = static_cast<int64_t>(tensor.in);
    const auto rows = static_cast<int64_t>(std::max<size_t>(tensor.out, 1));
    const std::vector<float> numbers(tensor.values.begin(), tensor.values.end());
    std::string bytes(static_cast<size_t>(rows) * ggml_row_size(type, in), '\0');
    ggml_quantize_chunk(type, numbers.data(), bytes.data(), 0, rows, in, nullptr);
    setBytes(name, type, bytes);
  }

  void setBytes(const std::string& name, ggml_type type, const std::string& bytes) {
    ReferenceTensor& tensor = tensors_.at(name);
    tensor.type = type;
    tensor.bytes = bytes;
    std::vector<float> decoded(tensor.values.size());
    if (type == GGML_TYPE_F32) {
      std::memcpy(decoded.data(), bytes.data(), bytes.size());
    } else {
      ggml_get_type_traits(type)->to_float(bytes.data(), decoded.data(),
                                           static_cast<int64_t>(decoded.size()));
    }
    tensor.values.assign(decoded.begin(), decoded.end());
  }

  void encodeMatrices(ggml_type type) {
    for (const auto& [name, tensor] : tensors_) {
      if (tensor.out != 0) encode(name, type);
    }
  }

  // Sets a bias to zeros, which the converter writes for a bias that the checkpoint lacks.
  void zero(const std::string& name) {
    ReferenceTensor& tensor = tensors_.at(name);
    std::fill(tensor.values.begin(), tensor.values.end(), 0);
    encode(name, GGML_TYPE_F32);
  }

  GgufBuilder metadata() const {
    GgufBuilder builder;
    builder.string("general.architecture", "gpt2")
        .number("gpt2.context_length", static_cast<uint32_t>(shape_.context))
        .number("gpt2.embedding_length", static_cast<uint32_t>(shape_.width))
        .number("gpt2.block_count", static_cast<uint32_t>(shape_.layers))
        .number("gpt2.attention.head_count", static_cast<uint32_t>(shape_.heads))
        .number("gpt2.attention.layer_norm_epsilon", static_cast<float>(shape_.epsilon));
    if (!shape_.activation.empty()) {
      builder.string("gpt2_native.activation_function", shape_.activation);
    }
    if (writesInner_) {
      builder.number("gpt2.feed_forward_length", static_cast<uint32_t>(shape_.inner));
    }
    return builder;
  }

  GgufBuilder& addTensors(GgufBuilder& builder) const {
    for (const auto& [name, tensor] : tensors_) {
      std::vector<uint64_t> extents{tensor.in};
      if (tensor.out != 0) extents.push_back(tensor.out);
      builder.tensor(name, extents, tensor.type, tensor.bytes);
    }
    return builder;
  }

  std::string file() const {
    GgufBuilder builder = metadata();
    return addTensors(builder).bytes();
  }

  // The logits at every position: [tokens, vocabulary].
  std::vector<std::vector<double>> logits(const std::vector<uint32_t>& tokens) const {
    std::vector<std::vector<std::vector<double>>> keys(shape_.layers);
    std::vector<std::vector<std::vector<double>>> values(shape_.layers);
    std::vector<std::vector<double>> rows;
    for (size_t position = 0; position < tokens.size(); ++position) {
      std::vector<double> hidden(shape_.width);
      for (size_t j = 0; j < shape_.width; ++j) {
        hidden[j] = tensors_.at("token_embd.weight").at(tokens[position], j) +
                    tensors_.at("position_embd.weight").at(position, j);
      }
      for (size_t i = 0; i < shape_.layers; ++i) {
        const std::string prefix = "blk." + std::to_string(i) + ".";
        const std::vector<double> qkv =
            linear(norm(hidden, prefix + "attn_norm"), prefix + "attn_qkv");
        const auto part = [&](size_t index) {
          const auto begin = qkv.begin() + static_cast<std::ptrdiff_t>(index * shape_.width);
          return std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(shape_.width));
        };
        keys[i].push_back(part(1));
        values[i].push_back(part(2));
        addTo(hidden, linear(attend(part(0), keys[i], values[i]), prefix + "attn_output"));
        std::vector<double> inner = linear(norm(hidden, prefix + "ffn_norm"), prefix + "ffn_up");
        for (double& x : inner) x = activationOf(shape_.activation, x);
        addTo(hidden, linear(inner, prefix + "ffn_down"));
      }
      rows.push_back(product(norm(hidden, "output_norm"),
                             shape_.ownHead ? "output.weight" : "token_embd.weight"));
    }
    return rows;
  }

 private:
  using Vector = std::vector<double>;

  void add(const std::string& name, size_t in, size_t out, double centre, double spread) {
    ReferenceTensor tensor{in, out, GGML_TYPE_F32, "", {}};
    for (size_t i = 0; i < in * std::max<size_t>(out, 1); ++i) {
      tensor.values.push_back(centre + spread * random_.symmetric());
    }
    tensors_.emplace(name, std::move(tensor));
    encode(name, GGML_TYPE_F32);
  }
  // Scaled so that outputs are about as large as inputs: every part of the model then affects the
  // logits.
  void addMatrix(const std::string& name, size_t in, size_t out) {
    add(name, in, out, 0, 2 / std::sqrt(static_cast<double>(in)));
  }
  void addLinear(const std::string& name, size_t in, size_t out) {
    addMatrix(name + ".weight", in, out);
    add(name + ".bias", out, 0, 0, 0.3);
  }
  void addNorm(const std::string& name) {
    add(name + ".weight", shape_.width, 0, 1, 0.4);
    add(name + ".bias", shape_.width, 0, 0, 0.3);
  }

  // Adds a bias if it exists.
  void addBias(Vector& x, const std::string& name) const {
    const auto found = tensors_.find(name + ".bias");
    if (found != tensors_.end()) addTo(x, found->second.values);
  }

  static void addTo(Vector& x, const Vector& y) {
    for (size_t j = 0; j < x.size(); ++j) x[j] += y[j];
  }

  Vector product(const Vector& x, const std::string& name) const {
    const ReferenceTensor& weight = tensors_.at(name);
    Vector y(weight.out);
    for (size_t row = 0; row < weight.out; ++row) {
      for (size_t j = 0; j < weight.in; ++j) y[row] += weight.at(row, j) * x[j];
    }
    return y;
  }

  Vector linear(const Vector& x, const std::string& name) const {
    Vector y = product(x, name + ".weight");
    addBias(y, name);
    return y;
  }

  Vector norm(const Vector& x, const std::string& name) const {
    const auto count = static_cast<double>(x.size());
    double mean = 0;
    for (const double value : x) mean += value / count;
    double variance = 0;
    for (const double value : x) variance += (value - mean) * (value - mean) / count;
    Vector y;
    for (size_t j = 0; j < x.size(); ++j) {
      y.push_back((x[j] - mean) / std::sqrt(variance + shape_.epsilon) *
                  tensors_.at(name + ".weight").values[j]);
    }
    addBias(y, name);
    return y;
  }

  Vector attend(const Vector& query, const std::vector<Vector>& keys,
                const std::vector<Vector>& values) const {
    const size_t size = shape_.width / shape_.heads;
    Vector result(shape_.width);
    for (size_t start = 0; start < shape_.width; start += size) {
      Vector weights;
      double largest = -INFINITY;
      for (const Vector& key : keys) {
        double score = 0;
        for (size_t j = start; j < start + size; ++j) score += query[j] * key[j];
        weights.push_back(score / std::sqrt(static_cast<double>(size)));
        largest = std::max(largest, weights.back());
      }
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - largest);
      for (size_t position = 0; position < values.size(); ++position) {
        for (size_t j = start; j < start + size; ++j) {
          result[j] += weights[position] / sum * values[position][j];
        }
      }
    }
    return result;
  }

  ReferenceShape shape_;
  bool writesInner_ = false;
  RandomNumbers random_;
  std::map<std::string, ReferenceTensor> tensors_;
};

inline std::vector<uint32_t> randomTokens(size_t count, size_t vocabulary, uint64_t seed) {
  RandomNumbers random(seed);
  std::vector<uint32_t> tokens;
  for (size_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<uint32_t>(random.below(vocabulary)));
  }
  return tokens;
}

template <typename T>
size_t indexOfLargest(const T* numbers, size_t count) {
  return static_cast<size_t>(std::max_element(numbers, numbers + count) - numbers);
}

// The error of a row of logits, in standard deviations of the expected row.
struct Distance {
  double largest = 0;
  double rootMeanSquare = 0;
};

template <typename Expected>
Distance distance(const float* logits, const std::vector<Expected>& expected) {
  const auto count = static_cast<double>(expected.size());
  double mean = 0;
  for (const double x : expected) mean += x / count;
  double variance = 0;
  for (const double x : expected) variance += (x - mean) * (x - mean) / count;
  Distance result;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(logits[i])) throw std::runtime_error("a logit is not finite");
    const double error = std::fabs(logits[i] - expected[i]) / std::sqrt(variance);
    result.largest = std::max(result.largest, error);
    result.rootMeanSquare += error * error / count;
  }
  result.rootMeanSquare = std::sqrt(result.rootMeanSquare);
  return result;
}

}  // namespace gpt2::test
