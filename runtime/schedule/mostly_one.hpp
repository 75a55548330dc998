// A short array that nearly always has one element: a decode's token, the sequence behind a slice.
// A step has hundreds of them and takes no memory for these. Contiguous; elements are copied as
// bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace troupe {

template <class T>
class mostly_one {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;

  mostly_one() = default;
  mostly_one(std::initializer_list<T> items) { assign(std::span(items.begin(), items.size())); }
  mostly_one(const mostly_one& other) { assign(other); }
  mostly_one(mostly_one&& other) noexcept
      : one_(other.one_), size_(std::exchange(other.size_, 0u)), many_(std::move(other.many_)) {}
  mostly_one& operator=(const mostly_one& other) {
    if (this != &other) assign(other);
    return *this;
  }
  mostly_one& operator=(mostly_one&& other) noexcept {
    one_ = other.one_;
    size_ = std::exchange(other.size_, 0u);
    many_ = std::move(other.many_);
    return *this;
  }
  ~mostly_one() = default;

  void assign(std::span<const T> items) { std::ranges::copy(items, resize_only(items.size())); }
  /// So many elements, to be written by the caller.
  T* resize_only(std::size_t count) {
    many_ = count > 1 ? std::make_unique_for_overwrite<T[]>(count) : nullptr;
    size_ = static_cast<std::uint32_t>(count);
    return data();
  }

  [[nodiscard]] T* data() { return many_ ? many_.get() : &one_; }
  [[nodiscard]] const T* data() const { return many_ ? many_.get() : &one_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] T* begin() { return data(); }
  [[nodiscard]] T* end() { return data() + size_; }
  [[nodiscard]] const T* begin() const { return data(); }
  [[nodiscard]] const T* end() const { return data() + size_; }
  [[nodiscard]] const T& operator[](std::size_t i) const { return data()[i]; }

  bool operator==(std::span<const T> other) const { return std::ranges::equal(*this, other); }

 private:
  T one_{};
  std::uint32_t size_ = 0;
  std::unique_ptr<T[]> many_;  ///< null up to one element
};

}  // namespace troupe
