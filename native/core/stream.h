// A growing array of plain values that is written anew for each op: appending is a compare and a store.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>

namespace genie {

template <typename T>
class Stream {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Stream() = default;
  Stream(const Stream& other) { append(other.data_.get(), other.size_); }
  Stream& operator=(const Stream& other) {
    if (this != &other) {
      clear();
      append(other.data_.get(), other.size_);
    }
    return *this;
  }

  void push_back(const T& value) {
    if (size_ == capacity_) grow(1);
    data_[size_++] = value;
  }
  void append(const T* values, size_t count) {
    if (size_ + count > capacity_) grow(count);
    for (size_t i = 0; i < count; ++i) data_[size_ + i] = values[i];  // a few: cheaper than memcpy's call
    size_ += count;
  }
  void clear() { size_ = 0; }

  size_t size() const { return size_; }
  T* begin() { return data_.get(); }
  T* end() { return data_.get() + size_; }
  const T* begin() const { return data_.get(); }
  const T* end() const { return data_.get() + size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  void grow(size_t count) {
    const size_t capacity = 2 * (size_ + count) + 30;
    auto data = std::make_unique<T[]>(capacity);
    for (size_t i = 0; i < size_; ++i) data[i] = data_[i];
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<T[]> data_;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace genie
