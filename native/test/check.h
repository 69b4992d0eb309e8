#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"

// A test framework in one header: TEST(name) { … CHECK(…) … }. Include it in one file of a program;
// its main runs every test and ends with "N passed, N failed, N skipped". The first check that
// fails ends its test, and so does SKIP("reason"), for a test that this machine cannot run. With
// GPT2_REQUIRE_ALL in the environment a skipped test fails: .ci/run sets it.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GPT2_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GPT2_HAS_SANITIZER 1
#endif
#endif

namespace gpt2::test {

// A test of this program. Tests form a list in the order of the file.
struct TestCase {
  TestCase(const char* testName, void (*test)()) noexcept : name(testName), run(test) {
    *end = this;
    end = &next;
  }

  const char* name;
  void (*run)();
  TestCase* next = nullptr;

  static inline TestCase* first = nullptr;
  static inline TestCase** end = &first;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& text) {
  throw std::logic_error(std::string(file) + ":" + std::to_string(line) + ": " + text);
}

// What SKIP throws. It is no std::exception, so that no check takes it for a failure of the code.
struct Skipped {
  std::string reason;
};

[[noreturn]] inline void skip(const std::string& reason) { throw Skipped{reason}; }

template <typename T>
std::string shown(const T& value) {
  std::ostringstream out;
  out.precision(17);
  out << value;
  return out.str();
}

template <typename Left, typename Right>
void checkEqual(const char* file, int line, const char* text, const Left& left,
                const Right& right) {
  if (!(left == right)) {
    fail(file, line, std::string(text) + ": " + shown(left) + " and " + shown(right));
  }
}

inline void checkNear(const char* file, int line, const char* text, double left, double right,
                      double tolerance) {
  // Negated so that a NaN on either side fails.
  if (!(std::fabs(left - right) <= tolerance)) {
    fail(file, line,
         std::string(text) + ": " + shown(left) + " and " + shown(right) + " differ by more than " +
             shown(tolerance));
  }
}

template <typename Expression>
void checkError(const char* file, int line, const char* text, const char* code,
                const Expression& expression) {
  std::string received = "no error";
  try {
    expression();
  } catch (const Error& error) {
    if (std::strcmp(error.code(), code) == 0) return;
    received = std::string(error.code()) + " (" + error.what() + ")";
  } catch (const std::exception& error) {
    received = error.what();
  }
  fail(file, line,
       std::string(text) + ": expected the error " + code + " but received " + received);
}

// The exit status of a program whose tests were all skipped: ctest's SKIP_RETURN_CODE.
constexpr int kAllSkipped = 77;

inline int runAll() {
  const char* require = std::getenv("GPT2_REQUIRE_ALL");
  const bool requireAll = require != nullptr && *require != '\0';
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  const auto failure = [&](const char* name, const std::string& text) {
    ++failed;
    std::cout << "FAIL  " << name << "\n      " << text << std::endl;
  };
  for (const TestCase* test = TestCase::first; test != nullptr; test = test->next) {
    try {
      test->run();
      ++passed;
      std::cout << "ok    " << test->name << std::endl;
    } catch (const Skipped& skip) {
      if (requireAll) {
        failure(test->name, "skipped although GPT2_REQUIRE_ALL is set: " + skip.reason);
      } else {
        ++skipped;
        std::cout << "skip  " << test->name << ": " << skip.reason << std::endl;
      }
    } catch (const std::exception& error) {
      failure(test->name, error.what());
    }
  }
  std::cout << passed << " passed, " << failed << " failed, " << skipped << " skipped" << std::endl;
  if (failed > 0 || passed + skipped == 0) return 1;
  return passed > 0 ? 0 : kAllSkipped;
}

}  // namespace gpt2::test

#define TEST(name)                                                 \
  static void test_##name();                                       \
  static gpt2::test::TestCase testCase_##name(#name, test_##name); \
  static void test_##name()

// Ends the test as skipped.
#define SKIP(reason) gpt2::test::skip(reason)

#define CHECK(condition)                                                \
  do {                                                                  \
    if (!(condition)) gpt2::test::fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQUAL(left, right) \
  gpt2::test::checkEqual(__FILE__, __LINE__, #left " == " #right, left, right)

#define CHECK_NEAR(left, right, tolerance) \
  gpt2::test::checkNear(__FILE__, __LINE__, #left " ≈ " #right, left, right, tolerance)

// Checks that evaluating the expression throws gpt2::Error with this code.
#define CHECK_ERROR(code, expression) \
  gpt2::test::checkError(__FILE__, __LINE__, #expression, code, [&] { (void)(expression); })

int main() { return gpt2::test::runAll(); }
