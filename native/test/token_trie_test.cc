// Tokens by what they spell, and strings across their borders, against plain searches.

#include "text/token_trie.h"

#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "random_numbers.h"
#include "text/stop_strings.h"

using gpt2::StopStrings;
using gpt2::StringMatcher;
using gpt2::TokenBytes;
using gpt2::TokenTrie;
using gpt2::test::RandomNumbers;

namespace {

std::shared_ptr<const TokenTrie> trieOf(const std::vector<std::string>& tokens) {
  return std::make_shared<const TokenTrie>(std::make_shared<const TokenBytes>(tokens));
}

// Few letters, so that strings overlap with themselves and each other.
std::string randomText(RandomNumbers& random, size_t maxLength) {
  std::string text(random.below(maxLength + 1), ' ');
  for (char& c : text) c = "ab\xFF"[random.below(3)];
  return text;
}

std::vector<std::string> randomTokens(RandomNumbers& random, size_t count) {
  std::vector<std::string> tokens{"a", "b", "\xFF"};
  while (tokens.size() < count) tokens.push_back(randomText(random, 5));
  return tokens;
}

}  // namespace

TEST(matchersFindTheLongestBeginning) {
  RandomNumbers random(1);
  for (int round = 0; round < 300; ++round) {
    const std::string string = "a" + randomText(random, 6);
    const StringMatcher matcher(string);
    const std::string text = randomText(random, 60);
    size_t state = 0;
    for (size_t end = 1; end <= text.size(); ++end) {
      state = matcher.next(state, text[end - 1]);
      size_t longest = std::min(string.size(), end);
      while (text.compare(end - longest, longest, string, 0, longest) != 0) --longest;
      CHECK_EQUAL(state, longest);
      CHECK_EQUAL(matcher.isFound(state), longest == string.size());
    }
  }
}

TEST(completingTokensAreThoseThatContainTheRest) {
  RandomNumbers random(2);
  for (int round = 0; round < 100; ++round) {
    const std::vector<std::string> tokens = randomTokens(random, 60);
    const auto trie = trieOf(tokens);
    const std::string string = "a" + randomText(random, 5);
    const StringMatcher matcher(string);
    for (size_t state = 0; state <= string.size(); ++state) {
      std::vector<uint32_t> expected;
      for (uint32_t token = 0; token < tokens.size(); ++token) {
        // What the text ends with, without a string that it contained as a whole.
        const std::string text = string.substr(0, state) + tokens[token];
        if (text.find(string, state == string.size() ? 1 : 0) != std::string::npos) {
          expected.push_back(token);
        }
      }
      std::vector<uint32_t> found = trie->completing(matcher, state);
      for (const uint32_t token : trie->containing(string)) found.push_back(token);
      std::sort(found.begin(), found.end());
      found.erase(std::unique(found.begin(), found.end()), found.end());
      CHECK(found == expected);
    }
  }
}

TEST(spellsWithTheLongestTokens) {
  const auto trie = trieOf({"a", "b", "ab", "", "abab", "ba", "ab"});
  const auto spelled = [&](const char* text) { return trie->spell(text); };
  CHECK(spelled("").empty());
  CHECK((spelled("ababab") == std::vector<uint32_t>{4, 2}));
  CHECK((spelled("abba") == std::vector<uint32_t>{2, 5}));
  CHECK((spelled("aab") == std::vector<uint32_t>{0, 2}));
  CHECK((spelled("abcab") == std::vector<uint32_t>{2}));  // no token has c
}

TEST(spelledTextsAreTheTexts) {
  RandomNumbers random(3);
  for (int round = 0; round < 200; ++round) {
    const std::vector<std::string> tokens = randomTokens(random, 40);
    const std::string text = randomText(random, 50);
    std::string joined;
    for (const uint32_t token : trieOf(tokens)->spell(text)) joined += tokens[token];
    CHECK_EQUAL(joined, text);
  }
}

// For random tokens and strings: what is released never has a byte of a stop string, what is held
// back is no more than may belong to one, and what is left is the text before the first.
TEST(stopStringsAreFoundAcrossTokens) {
  RandomNumbers random(4);
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::vector<std::string> tokens = randomTokens(random, 30);
    std::vector<std::string> strings;
    for (size_t i = 0; i <= random.below(3); ++i) strings.push_back("a" + randomText(random, 5));
    StopStrings stops(strings, trieOf(tokens));
    std::string text;
    std::vector<uint32_t> pushed;
    const auto textBefore = [&](size_t kept) {
      std::string released;
      for (size_t i = 0; i + kept < pushed.size(); ++i) released += tokens[pushed[i]];
      return released;
    };
    for (int i = 0; i < 30; ++i) {
      pushed.push_back(static_cast<uint32_t>(random.below(tokens.size())));
      const size_t before = text.size();
      text += tokens[pushed.back()];
      // The string that ends first, or the longest of those.
      size_t end = std::string::npos;
      std::string expected;
      for (const std::string& string : strings) {
        const size_t at = text.find(string);
        if (at == std::string::npos) continue;
        const size_t ownEnd = at + string.size();
        if (end == std::string::npos || ownEnd < end ||
            (ownEnd == end && string.size() > expected.size())) {
          end = ownEnd;
          expected = string;
        }
      }
      CHECK_EQUAL(stops.push(pushed.back()), end != std::string::npos);
      if (end != std::string::npos) {
        CHECK(end > before);
        CHECK_EQUAL(stops.found(), expected);
        std::string left = textBefore(stops.foundTokens());
        for (const uint32_t token : stops.tokensBefore()) left += tokens[token];
        CHECK_EQUAL(left, text.substr(0, end - expected.size()));
        ++found;
        break;
      }
      // The longest end of the text that begins a string.
      size_t longest = 0;
      for (const std::string& string : strings) {
        size_t length = std::min(string.size() - 1, text.size());
        while (text.compare(text.size() - length, length, string, 0, length) != 0) --length;
        longest = std::max(longest, length);
      }
      const size_t released = textBefore(stops.held()).size();
      CHECK(released <= text.size() - longest);
      if (stops.held() > 0) {
        const size_t next = tokens[pushed[pushed.size() - stops.held()]].size();
        CHECK(released + next > text.size() - longest);
      }
    }
  }
  CHECK(found > 500);
}

TEST(withoutStopStringsNothingIsHeldBack) {
  StopStrings stops({}, nullptr);
  CHECK(!stops.push(7));
  CHECK_EQUAL(stops.held(), 0U);
}
