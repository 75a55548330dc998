// The callables that templates define, and the `loop` variable.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/jinja/interpreter.hpp"

namespace troupe::jinja {

/// A macro or the body of a call block, with the scope that it was defined in.
class macro_object final : public object {
 public:
  macro_object(const macro_definition& macro, std::shared_ptr<scope> home)
      : macro_(macro), home_(std::move(home)) {}
  [[nodiscard]] std::string_view type_name() const override { return "Macro"; }
  [[nodiscard]] std::string representation() const override {
    return "<Macro '" + macro_.name + "'>";
  }
  [[nodiscard]] bool is_callable() const override { return true; }
  std::optional<value> attribute(interpreter& run, std::string_view name) override;
  value call(interpreter& run, arguments args) override {
    return run.call_macro(macro_, home_, std::move(args));
  }

 private:
  const macro_definition& macro_;
  std::shared_ptr<scope> home_;
};

/// What `loop` names inside of a for.
class loop_object final : public object, public std::enable_shared_from_this<loop_object> {
 public:
  loop_object(const for_statement& loop, std::shared_ptr<scope> home,
              std::shared_ptr<const std::vector<value>> items, int depth)
      : loop_(loop), home_(std::move(home)), items_(std::move(items)), depth_(depth) {}
  void move_to(std::size_t index) { index_ = index; }
  /// Drops what it holds, at the end of a rendering.
  void release();
  [[nodiscard]] std::string_view type_name() const override { return "LoopContext"; }
  [[nodiscard]] std::string representation() const override;
  [[nodiscard]] bool is_truthy() const override { return !items_->empty(); }
  [[nodiscard]] std::optional<std::size_t> length() const override { return items_->size(); }
  std::optional<value> attribute(interpreter& run, std::string_view name) override;
  [[nodiscard]] bool is_callable() const override { return true; }
  value call(interpreter& run, arguments args) override;
  /// loop.changed(...): true when the arguments differ from those of its last call.
  bool changed(interpreter& run, std::vector<value> now);

 private:
  const for_statement& loop_;
  std::shared_ptr<scope> home_;
  std::shared_ptr<const std::vector<value>> items_;
  int depth_;
  std::size_t index_ = 0;
  std::optional<std::vector<value>> last_seen_;
};

}  // namespace troupe::jinja
