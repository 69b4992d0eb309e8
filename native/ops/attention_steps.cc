#include "ops/attention_steps.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/matrix_product.h"
#include "kernels/row_functions.h"
#include "kernels/transpose.h"
#include "ops/step_helpers.h"

namespace gpt2 {

namespace {

// Converts floats to the type of the cache, f32 or f16.
void convert(const float* from, int64_t count, ggml_type type, void* to) {
  if (type == GGML_TYPE_F32) {
    std::copy_n(from, count, static_cast<float*>(to));
  } else {
    roundToF16(from, count, static_cast<ggml_fp16_t*>(to));
  }
}

// Copies adjacent elements to places `stride` bytes apart.
template <class Element>
void scatter(const void* from, int64_t count, uint8_t* to, size_t stride) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + static_cast<size_t>(i) * stride, static_cast<const Element*>(from) + i,
                sizeof(Element));
  }
}

// The queries, keys and values of one span. Tokens are counted from the start of the span.
class SpanAttention {
 public:
  // firstRow: the row of qkv that holds the span's first token.
  SpanAttention(const AttentionInput& input, const CacheSpan& span, int64_t firstRow)
      : qkv_(input.qkv),
        firstRow_(firstRow),
        blocks_(span.cache->blocks()),
        layer_(input.layer),
        width_(input.shape.width),
        heads_(input.shape.headCount),
        headSize_(input.shape.headSize()),
        start_(span.start),
        tokens_(span.count) {}

  int64_t heads() const { return heads_; }
  int64_t headSize() const { return headSize_; }
  int64_t firstRow() const { return firstRow_; }
  int64_t tokens() const { return tokens_; }
  // Up to the span's last token.
  int64_t positions() const { return start_ + tokens_; }
  // Those that a token attends to: itself and all before it.
  int64_t positionsSeenBy(int64_t token) const { return start_ + token + 1; }

  const float* query(int64_t token, int64_t head) const {
    return floats(qkv_) + (firstRow_ + token) * qkvStride() + head * headSize_;
  }
  const float* key(int64_t token, int64_t head) const { return query(token, head) + width_; }
  const float* value(int64_t token, int64_t head) const { return query(token, head) + 2 * width_; }
  // From token to token, in floats.
  int64_t qkvStride() const { return 3 * width_; }

  // Writes this pass's keys and values of a head to the cache. scratch: storeScratch() floats.
  void storeKeysAndValues(int64_t head, float* scratch) const {
    int64_t count = 0;
    for (int64_t token = 0; token < tokens_; token += count) {
      const int64_t place = (start_ + token) % kBlock;
      count = std::min(kBlock - place, tokens_ - token);
      const KvBlock& block = blockAt(start_ + token);
      uint8_t* keys = headOf(block.keys, head) + static_cast<size_t>(place) * block.keys->nb[0];
      if (count == 1) {
        storeKey(token, head, keys, block.keys, scratch);
      } else {
        storeKeys(token, count, head, keys, block.keys, scratch);
      }
      uint8_t* values = headOf(block.values, head);
      for (int64_t i = 0; i < count; ++i) {
        convert(value(token + i, head), headSize_, block.values->type,
                values + static_cast<size_t>(place + i) * block.values->nb[1]);
      }
    }
  }
  size_t storeScratch() const { return static_cast<size_t>(headSize_ * kBlock); }

  // Receives the blocks that hold the first `positions` cached keys or values of a head. Scores and
  // results are weighted sums of the rows of keys, [head size, positions in the block], and values,
  // [positions in the block, head size].
  const KvBlock& blockAt(int64_t position) const {
    return *blocks_[static_cast<size_t>(position / kBlock)];
  }
  template <class Receive>
  void forEachBlock(int64_t positions, const Receive& receive) const {
    for (int64_t first = 0; first < positions; first += kBlock) {
      receive(blockAt(first), first, std::min(kBlock, positions - first));
    }
  }
  Matrix keysOf(const KvBlock& block, int64_t head, int64_t positions) const {
    return {headOf(block.keys, head), block.keys->nb[1], block.keys->type, headSize_, positions};
  }
  Matrix valuesOf(const KvBlock& block, int64_t head, int64_t positions) const {
    return {headOf(block.values, head), block.values->nb[1], block.values->type, positions,
            headSize_};
  }

  // Turns the scores of a token into attention weights, in place.
  void softmaxScores(float* scores, int64_t token) const {
    softmax(scores, 1 / std::sqrt(static_cast<float>(headSize_)), positionsSeenBy(token));
  }

 private:
  static constexpr int64_t kBlock = KvBlock::kPositions;

  uint8_t* headOf(const ggml_tensor* tensor, int64_t head) const {
    return static_cast<uint8_t*>(tensor->data) + layer_ * tensor->nb[3] +
           static_cast<size_t>(head) * tensor->nb[2];
  }

  // Several tokens are transposed, so that each channel's row is converted at once.
  void storeKeys(int64_t token, int64_t count, int64_t head, uint8_t* to, const ggml_tensor* keys,
                 float* scratch) const {
    transpose(key(token, head), static_cast<size_t>(qkvStride()), count, headSize_, scratch,
              kBlock);
    for (int64_t i = 0; i < headSize_; ++i) {
      convert(scratch + i * kBlock, count, keys->type, to + static_cast<size_t>(i) * keys->nb[1]);
    }
  }

  // The channels of a single token are converted at once, then scattered to their rows.
  void storeKey(int64_t token, int64_t head, uint8_t* to, const ggml_tensor* keys,
                float* scratch) const {
    convert(key(token, head), headSize_, keys->type, scratch);
    if (keys->type == GGML_TYPE_F32) {
      scatter<float>(scratch, headSize_, to, keys->nb[1]);
    } else {
      scatter<ggml_fp16_t>(scratch, headSize_, to, keys->nb[1]);
    }
  }

  const ggml_tensor* qkv_;
  int64_t firstRow_;
  const std::vector<KvBlockPtr>& blocks_;
  size_t layer_;
  int64_t width_, heads_, headSize_, start_, tokens_;
};

// Writes `count` elements of a row of the output, from `channel` on.
void writeOutput(const AttentionOutput& output, int64_t row, int64_t channel, const float* values,
                 int64_t count) {
  const int64_t width = output.y->ne[0];
  if (!output.isPacked) {
    std::copy_n(values, count, floats(output.y) + row * width + channel);
    return;
  }
  const int64_t perTile = tileRows();
  float* tile = floats(output.y) + row / perTile * perTile * width + row % perTile;
  for (int64_t i = 0; i < count; ++i) {
    tile[packedIndex(channel + i, width, SumOrder::kByLane) * perTile] = values[i];
  }
}

// One chunk per head of each span of few tokens.
class DecodeAttention {
 public:
  DecodeAttention(std::vector<SpanAttention> spans, const AttentionOutput& output)
      : spans_(std::move(spans)), output_(output) {}

  int chunks() const {
    return spans_.empty() ? 0 : static_cast<int>(spans_.size() * size_t(spans_[0].heads()));
  }
  size_t scratch() const {
    size_t floats = 0;
    for (const SpanAttention& span : spans_) {
      const auto attended = static_cast<size_t>(span.positions() + span.headSize());
      floats = std::max({floats, attended, span.storeScratch()});
    }
    return floats;
  }
  void run(int chunk, float* scratch) const noexcept {
    const SpanAttention& span = spans_[static_cast<size_t>(chunk / spans_[0].heads())];
    const int64_t head = chunk % spans_[0].heads();
    const int64_t headSize = span.headSize();
    float* attended = scratch;
    float* scores = scratch + headSize;
    span.storeKeysAndValues(head, scratch);
    const std::vector<int64_t>& rows = output_.rows;
    auto row = std::lower_bound(rows.begin(), rows.end(), span.firstRow());
    for (; row != rows.end() && *row < span.firstRow() + span.tokens(); ++row) {
      const int64_t token = *row - span.firstRow();
      const int64_t seen = span.positionsSeenBy(token);
      const void* values = span.valuesOf(span.blockAt(0), head, 1).data;
      std::fill_n(scores, seen, 0.0F);
      span.forEachBlock(seen, [&](const KvBlock& block, int64_t first, int64_t count) {
        const int64_t next = first + count;
        addWeightedRows(span.keysOf(block, head, count), span.query(token, head), scores + first,
                        next == seen ? values : span.keysOf(span.blockAt(next), head, 1).data);
      });
      span.softmaxScores(scores, token);
      std::fill_n(attended, headSize, 0.0F);
      span.forEachBlock(seen, [&](const KvBlock& block, int64_t first, int64_t count) {
        const int64_t next = first + count;
        addWeightedRows(span.valuesOf(block, head, count), scores + first, attended,
                        next == seen ? values : span.valuesOf(span.blockAt(next), head, 1).data);
      });
      writeOutput(output_, row - rows.begin(), head * headSize, attended, headSize);
    }
  }

 private:
  std::vector<SpanAttention> spans_;
  const AttentionOutput& output_;
};

// One chunk per head of each span.
class StoreStep final : public Step {
 public:
  explicit StoreStep(std::vector<SpanAttention> spans) : spans_(std::move(spans)) {}

  std::string name() const override { return "store keys and values"; }
  int chunks() const override { return static_cast<int>(spans_.size() * size_t(heads())); }
  size_t scratch() const override { return spans_[0].storeScratch(); }
  void run(int chunk, float* scratch) const noexcept override {
    spans_[static_cast<size_t>(chunk / heads())].storeKeysAndValues(chunk % heads(), scratch);
  }

 private:
  int64_t heads() const { return spans_[0].heads(); }

  std::vector<SpanAttention> spans_;
};

// A span of many tokens: one chunk per head and kTilesPerChunk tiles of tokens.
class PrefillAttention {
 public:
  PrefillAttention(const SpanAttention& span, const AttentionOutput& output)
      : span_(span), headSize_(span.headSize()), output_(output) {}

  int chunks() const { return static_cast<int>(span_.heads()) * chunksPerHead(); }
  size_t scratch() const { return Buffers::floatCount(span_.positions(), headSize_); }

  void run(int chunk, float* scratch) const noexcept {
    const int64_t head = chunk / chunksPerHead();
    const int64_t begin = chunk % chunksPerHead() * kTilesPerChunk * tileRows();
    const int64_t end = std::min(begin + kTilesPerChunk * tileRows(), span_.tokens());
    // Rows count the tokens of all spans.
    const int64_t first = span_.firstRow();
    const std::vector<int64_t>& rows = output_.rows;
    auto row = std::lower_bound(rows.begin(), rows.end(), first + begin);
    if (row == rows.end() || *row >= first + end) return;
    const int64_t positions = span_.positionsSeenBy(end - 1);
    const Buffers buffers(positions, headSize_, scratch);
    packKeysAndValues(head, positions, buffers);
    for (int64_t token = begin; token < end; token += tileRows()) {
      const int64_t count = std::min(tileRows(), end - token);
      const auto firstRow = row;
      row = std::lower_bound(row, rows.end(), first + token + count);
      if (row == firstRow) continue;  // no token of this tile has an output row
      computeWeights(head, token, count, buffers);
      for (int64_t channel = 0; channel < headSize_; channel += tileColumns()) {
        sumValues(channel, token, count, positions, buffers);
        for (auto it = firstRow; it != row; ++it) {
          writeOutput(output_, it - rows.begin(), head * headSize_ + channel,
                      buffers.tile + (*it - first - token) * tileColumns(),
                      std::min(tileColumns(), headSize_ - channel));
        }
      }
    }
  }

 private:
  // Tiles of tokens that share the packed keys and values.
  static constexpr int64_t kTilesPerChunk = 8;

  // The scratch of a chunk that reads `positions` positions of the cache.
  struct Buffers {
    Buffers(int64_t positions, int64_t headSize, float* scratch)
        : scoreStride(roundUp(positions, tileColumns())),
          keyPanels(scratch),
          valuePanels(keyPanels + scoreStride * headSize),
          scores(valuePanels + scoreStride * roundUp(headSize, tileColumns())),
          weights(scores + tileRows() * scoreStride),
          queries(weights + tileRows() * scoreStride),
          tile(queries + tileRows() * headSize) {}

    static size_t floatCount(int64_t positions, int64_t headSize) {
      const int64_t stride = roundUp(positions, tileColumns());
      return static_cast<size_t>(stride * headSize + stride * roundUp(headSize, tileColumns()) +
                                 2 * tileRows() * stride + tileRows() * headSize +
                                 tileRows() * tileColumns());
    }

    int64_t scoreStride;
    float* keyPanels;    // [positions / tileColumns(), rounded up][head size][tileColumns()]
    float* valuePanels;  // [head size / tileColumns(), rounded up][positions][tileColumns()]
    float* scores;       // [tileRows()][scoreStride]; after softmax, the attention weights
    float* weights;      // the weights, packed
    float* queries;      // packed
    float* tile;         // [tileRows()][tileColumns()]
  };

  void packKeysAndValues(int64_t head, int64_t positions, const Buffers& buffers) const {
    span_.forEachBlock(positions, [&](const KvBlock& block, int64_t first, int64_t count) {
      const Matrix keys = span_.keysOf(block, head, count);
      for (int64_t p = 0; p < count; p += tileColumns()) {
        packColumns(keys, p, buffers.keyPanels + (first + p) * headSize_);
      }
      const Matrix values = span_.valuesOf(block, head, count);
      for (int64_t channel = 0; channel < headSize_; channel += tileColumns()) {
        packColumns(values, channel,
                    buffers.valuePanels + channel * positions + first * tileColumns());
      }
    });
  }

  // The attention weights of the `count` tokens of a tile, from `token` on.
  void computeWeights(int64_t head, int64_t token, int64_t count, const Buffers& buffers) const {
    packTiles(span_.query(token, head), static_cast<size_t>(span_.qkvStride()), count,
              {0, headSize_, headSize_}, SumOrder::kSequential, buffers.queries);
    const int64_t seen = span_.positionsSeenBy(token + count - 1);
    for (int64_t p = 0; p < seen; p += tileColumns()) {
      multiplyTile(buffers.queries, buffers.keyPanels + p * headSize_, headSize_, count,
                   SumOrder::kSequential, buffers.scores + p,
                   static_cast<size_t>(buffers.scoreStride));
    }
    for (int64_t i = 0; i < count; ++i) {
      span_.softmaxScores(buffers.scores + i * buffers.scoreStride, token + i);
    }
    const int64_t common = span_.positionsSeenBy(token);
    packTiles(buffers.scores, static_cast<size_t>(buffers.scoreStride), count, {0, common, common},
              SumOrder::kSequential, buffers.weights);
  }

  // One panel of channels of the results of a tile: writes buffers.tile.
  void sumValues(int64_t channel, int64_t token, int64_t count, int64_t positions,
                 const Buffers& buffers) const {
    const float* panel = buffers.valuePanels + channel * positions;
    // The positions that all tokens of the tile see are multiplied together, later ones row by row:
    // a token must not read the values of later positions even with a weight of 0, because 0 times
    // an infinity or a NaN is NaN.
    const int64_t common = span_.positionsSeenBy(token);
    multiplyTile(buffers.weights, panel, common, count, SumOrder::kSequential, buffers.tile,
                 static_cast<size_t>(tileColumns()));
    for (int64_t i = 1; i < count; ++i) {
      accumulateRow(buffers.scores + i * buffers.scoreStride + common,
                    panel + common * tileColumns(), i, buffers.tile + i * tileColumns());
    }
  }

  int chunksPerHead() const { return chunkCount(span_.tokens(), kTilesPerChunk * tileRows()); }

  SpanAttention span_;
  int64_t headSize_;
  const AttentionOutput& output_;
};

// A span of more tokens than this packs its keys and values into tiles.
constexpr int64_t kMaxUnpackedQueries = 4;

bool isLong(const CacheSpan& span) { return span.count > kMaxUnpackedQueries; }

// The spans of many tokens, or the others.
std::vector<SpanAttention> spansOf(const AttentionInput& input, bool areLong) {
  std::vector<SpanAttention> spans;
  int64_t firstRow = 0;
  for (const CacheSpan& span : input.spans) {
    if (isLong(span) == areLong) spans.emplace_back(input, span, firstRow);
    firstRow += span.count;
  }
  return spans;
}

// The chunks of the spans of many tokens, then those of the others.
class AttentionStep final : public Step {
 public:
  AttentionStep(const AttentionInput& input, AttentionOutput output)
      : output_(std::move(output)), decode_(spansOf(input, false), output_) {
    for (const SpanAttention& span : spansOf(input, true)) prefill_.emplace_back(span, output_);
  }

  std::string name() const override { return "attention"; }
  int chunks() const override {
    int count = decode_.chunks();
    for (const PrefillAttention& span : prefill_) count += span.chunks();
    return count;
  }
  size_t scratch() const override {
    size_t floats = decode_.scratch();
    for (const PrefillAttention& span : prefill_) floats = std::max(floats, span.scratch());
    return floats;
  }
  void run(int chunk, float* scratch) const noexcept override {
    for (const PrefillAttention& span : prefill_) {
      if (chunk < span.chunks()) return span.run(chunk, scratch);
      chunk -= span.chunks();
    }
    decode_.run(chunk, scratch);
  }

 private:
  AttentionOutput output_;
  DecodeAttention decode_;
  std::vector<PrefillAttention> prefill_;
};

}  // namespace

bool hasLongSpans(const AttentionInput& input) {
  return std::any_of(input.spans.begin(), input.spans.end(), isLong);
}

std::unique_ptr<Step> makeStoreStep(const AttentionInput& input) {
  return std::make_unique<StoreStep>(spansOf(input, true));
}

std::unique_ptr<Step> makeAttentionStep(const AttentionInput& input, AttentionOutput output) {
  return std::make_unique<AttentionStep>(input, std::move(output));
}

}  // namespace gpt2
