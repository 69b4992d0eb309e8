#pragma once

namespace gpt2 {

// The function between the two layers of a feed-forward block.
//   kGeluTanh: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), with which GPT-2 was trained
//   kGeluErf:  ½ x (1 + erf(x ÷ √2)), of which the above is an approximation
//              (both: Hendrycks & Gimpel 2016)
//   kRelu:     max(x, 0)
//   kSilu:     x ÷ (1 + e^−x)
enum class Activation { kNone, kGeluTanh, kGeluErf, kRelu, kSilu };

}  // namespace gpt2
