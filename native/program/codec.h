// The compact encoding of a run and of its outputs: LEB128 varints, zigzag for signed ones.
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace genie {

class Encoder {
 public:
  void varint(uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<char>(value));
  }
  void varint_signed(int64_t value) {
    varint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void fixed(uint64_t value) { out_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void bytes(const std::string& data) { out_ += data; }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Reads what a peer sent: every access is checked, and bad input throws.
class Decoder {
 public:
  explicit Decoder(std::string_view data) : data_(data) {}

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      TORCH_CHECK_VALUE(position_ < data_.size(), "truncated message");
      const auto byte = static_cast<uint8_t>(data_[position_++]);
      value |= uint64_t(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    TORCH_CHECK_VALUE(false, "overlong integer");
  }
  int64_t varint_signed() {
    const uint64_t value = varint();
    return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }
  uint64_t fixed() {
    uint64_t value = 0;
    std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view bytes(size_t count) {
    TORCH_CHECK_VALUE(count <= data_.size() - position_, "truncated message");
    const auto view = data_.substr(position_, count);
    position_ += count;
    return view;
  }
  // A count of things that take at least one byte each.
  size_t count() {
    const uint64_t value = varint();
    TORCH_CHECK_VALUE(value <= data_.size() - position_, "a count beyond the message's end");
    return value;
  }
  bool done() const { return position_ == data_.size(); }

 private:
  std::string_view data_;
  size_t position_ = 0;
};

}  // namespace genie
