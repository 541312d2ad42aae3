// SHA-256 (FIPS 180-4), by OpenSSL's libcrypto, which uses the processor's instructions for it.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace hr {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  std::string hex();  // 64 digits; ends the computation

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr
