// A reference to a callable that an operation calls for each range of outputs that a thread made.
#pragma once

namespace troupe::kernels {

/// Refers to its callable, which outlives it and which several threads call at once, each for
/// ranges of its own; or to none, and then a call does nothing.
template <class Range>
class epilogue {
 public:
  epilogue() = default;
  template <class Body>
  explicit epilogue(const Body& body)
      : body_(&body), call_([](const void* context, const Range& range) {
          (*static_cast<const Body*>(context))(range);
        }) {}
  template <class Body>
  explicit epilogue(const Body&& temporary) = delete;
  void operator()(const Range& range) const {
    if (call_ != nullptr) call_(body_, range);
  }
  [[nodiscard]] bool is_empty() const noexcept { return call_ == nullptr; }

 private:
  const void* body_ = nullptr;
  void (*call_)(const void*, const Range&) = nullptr;
};

}  // namespace troupe::kernels
