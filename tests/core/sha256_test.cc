#include "core/digest/sha256.h"

#include <gtest/gtest.h>

#include <vector>

namespace hr {
namespace {

std::string sha256(const std::string& text, size_t chunk = 1 << 20) {
  Sha256 sha;
  const auto bytes = std::as_bytes(std::span(text));
  for (size_t at = 0; at < bytes.size(); at += chunk) sha.update(bytes.subspan(at, std::min(chunk, bytes.size() - at)));
  return sha.hex();
}

// The examples of FIPS 180-4 (NIST's "SHA256.pdf").
TEST(Sha256, GivesTheStandardsExamples) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256(std::string(1000000, 'a'), 777), sha256(std::string(1000000, 'a'))) << "in pieces";
}

}  // namespace
}  // namespace hr
