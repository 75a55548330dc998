// The parser's view of its tokens, and the depth of what it builds.
#include <algorithm>
#include <utility>

#include "config/limits.hpp"
#include "runtime/text/jinja/parser.hpp"

namespace troupe::jinja {
namespace {

class depth_of {
 public:
  int operator()(const constant_node&) { return 0; }
  int operator()(const name_node&) { return 0; }
  int operator()(const list_node& node) { return all(node.items); }
  int operator()(const tuple_node& node) { return all(node.items); }
  int operator()(const dict_node& node) {
    int deepest = 0;
    for (const auto& [key, item] : node.entries) deepest = std::max({deepest, of(key), of(item)});
    return deepest;
  }
  int operator()(const unary_node& node) { return of(node.operand); }
  int operator()(const binary_node& node) { return std::max(of(node.left), of(node.right)); }
  int operator()(const concat_node& node) { return all(node.items); }
  int operator()(const logical_node& node) { return std::max(of(node.left), of(node.right)); }
  int operator()(const comparison_node& node) {
    int deepest = of(node.first);
    for (const auto& row : node.rest) deepest = std::max(deepest, of(row.second));
    return deepest;
  }
  int operator()(const conditional_node& node) {
    return std::max({of(node.test), of(node.then), of(node.otherwise)});
  }
  int operator()(const attribute_node& node) { return of(node.owner); }
  int operator()(const subscript_node& node) { return std::max(of(node.owner), of(node.index)); }
  int operator()(const slice_node& node) {
    return std::max({of(node.owner), of(node.start), of(node.stop), of(node.step)});
  }
  int operator()(const call_node& node) { return std::max(of(node.callee), args(node.args)); }
  int operator()(const filter_node& node) { return std::max(of(node.operand), args(node.args)); }
  int operator()(const test_node& node) { return std::max(of(node.operand), args(node.args)); }

 private:
  static int of(const expression_ptr& child) { return child ? child->depth : 0; }
  static int all(const std::vector<expression_ptr>& children) {
    int deepest = 0;
    for (const auto& child : children) deepest = std::max(deepest, of(child));
    return deepest;
  }
  static int args(const call_syntax& call) {
    int deepest = std::max({all(call.positional), of(call.unpacked_list), of(call.unpacked_dict)});
    for (const auto& row : call.keyword) deepest = std::max(deepest, of(row.second));
    return deepest;
  }
};

}  // namespace

expression_ptr parser::make(expression::variant form, int line) const {
  auto made = std::make_unique<expression>();
  made->depth = std::visit(depth_of{}, form) + 1;
  made->form = std::move(form);
  made->line = line;
  if (made->depth > limits::template_nesting_max) fail("an expression is nested too deeply", line);
  return made;
}

parser::nesting::nesting(parser& owner) : owner_(owner) {
  if (++owner_.nesting_ <= limits::template_nesting_max) return;
  --owner_.nesting_;
  owner_.fail("the template is nested more than " + std::to_string(limits::template_nesting_max) +
              " levels deep");
}

const token& parser::take() {
  const token& taken = current();
  if (position_ + 1 < tokens_.size()) ++position_;
  return taken;
}

bool parser::at_symbol(std::string_view symbol) const {
  return current().kind == token_kind::symbol && current().text == symbol;
}

bool parser::at_name(std::string_view name) const {
  return current().kind == token_kind::name && current().text == name;
}

bool parser::skip_symbol(std::string_view symbol) {
  if (!at_symbol(symbol)) return false;
  take();
  return true;
}

bool parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  take();
  return true;
}

void parser::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol))
    fail("expected '" + std::string(symbol) + "', got " + describe_current());
}

void parser::expect_name(std::string_view name) {
  if (!skip_name(name)) fail("expected '" + std::string(name) + "', got " + describe_current());
}

std::string parser::expect_identifier() {
  if (current().kind != token_kind::name) fail("expected a name, got " + describe_current());
  return take().text;
}

void parser::expect_block_end() {
  if (current().kind != token_kind::block_end)
    fail("expected the end of the tag, got " + describe_current());
  take();
}

void parser::fail(const std::string& message, int line) const {
  throw failure{message, line > 0 ? line : current().line};
}

void parser::note_unknown(std::string_view what, const std::string& name, int line) {
  constexpr std::string_view unsupported[] = {"filesizeformat", "forceescape", "pprint",
                                              "random",         "striptags",   "urlencode",
                                              "urlize",         "wordwrap",    "xmlattr"};
  for (const auto known : unsupported)
    if (what == "filter" && name == known) fail("the filter '" + name + "' is not supported", line);
  if (!is_conditional_)
    unknown_.push_back({"No " + std::string(what) + " named '" + name + "'", line});
}

std::string parser::describe_current() const {
  switch (current().kind) {
    case token_kind::data: return "text";
    case token_kind::variable_begin: return "'{{'";
    case token_kind::variable_end: return "'}}'";
    case token_kind::block_begin: return "'{%'";
    case token_kind::block_end: return "'%}'";
    case token_kind::end: return "the end of the template";
    case token_kind::string: return "a string";
    default: return "'" + current().text + "'";
  }
}

}  // namespace troupe::jinja
