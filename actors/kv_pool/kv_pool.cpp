#include "actors/kv_pool/kv_pool.hpp"

#include <algorithm>

#include "actors/base/messages.hpp"

namespace troupe {

namespace {

// No states: every message is answered at once.
class kv_pool_state {
 public:
  static constexpr const char* name = "kv_pool";

  kv_pool_state(caf::event_based_actor* self, const kv_pool_options& options)
      : self_(self), block_bytes_(options.block_bytes), store_(options.make_store()) {}

  caf::behavior make_behavior() {
    return {
        [this](const store_blocks& order) {
          store_->store(*order.blocks);
          answer(blocks_stored{});
        },
        [this](const find_blocks& question) {
          auto found = store_->find(*question.keys);
          std::erase_if(found, [this](const offered_block& each) {
            return each.bytes->size() != block_bytes_;
          });
          answer(blocks_found{question.sequence, std::move(found)});
        },
    };
  }

 private:
  template <class Message>
  void answer(Message&& message) {
    send_to(caf::actor_cast<caf::actor>(self_->current_sender()), std::forward<Message>(message),
            true);
  }

  caf::event_based_actor* self_;
  std::size_t block_bytes_;
  std::unique_ptr<kv_store> store_;
};

}  // namespace

caf::actor spawn_kv_pool(caf::actor_system& system, const kv_pool_options& options) {
  return spawn_actor<kv_pool_state>(system, options.where, options);
}

}  // namespace troupe
