// Proves that the queue's order is that of a naive virtual token counter which looks at everything
// each time, under random arrivals, admissions, departures and corrections; and the rules one by
// one.
#include "runtime/schedule/fair_queue.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <tuple>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "runtime/schedule/request_state.hpp"

using namespace troupe;

namespace {

constexpr std::array<double, 5> shares{1.0, 0.5, 3.0, 2.0, 0.125};

std::unique_ptr<request_state> make(std::uint32_t index, std::uint64_t order,
                                    std::uint64_t tokens = 10, double share = 1.0) {
  auto made = std::make_unique<request_state>();
  made->request.tenant_index = index;
  made->request.tenant_share = share;
  made->key = {.order = order};
  made->queued_work = {.prefill_tokens = tokens, .sequences = 1};
  return made;
}

void admit(fair_queue& queue, request_state& request) {
  request.charge_stay = queue.charge(request, request.queued_work.tokens());
  queue.erase(request);
}

/// The order of tenants in which all that waits would be admitted.
std::vector<std::uint32_t> tenants_of(const fair_queue& queue) {
  std::vector<std::uint32_t> tenants;
  for (const request_state* each : queue.first(1'000))
    tenants.push_back(each->request.tenant_index);
  return tenants;
}

class naive_queue {
 public:
  void insert(request_state& request) {
    const std::uint32_t index = request.request.tenant_index;
    const bool begins = request.key.fresh && !waits(index);
    if (begins) {
      known_.try_emplace(index, counter{floor(), 0, next_stay_++});
      counter& its = known_[index];
      if (its.served < floor()) its.stay = next_stay_++;
      its = {std::max(its.served, floor()), next_since_++, its.stay};
    }
    waiting_.push_back(&request);
  }
  void erase(const request_state& request) {
    std::erase(waiting_, &request);
    if (!request.key.fresh) return;
    const std::uint32_t index = request.request.tenant_index;
    if (!waits(index)) last_served_ = known_.at(index).served;
    forget();
  }
  void charge(const request_state& request, std::uint64_t tokens) {
    const std::uint32_t index = request.request.tenant_index;
    if (!known_.contains(index)) known_[index] = {floor(), next_since_++, next_stay_++};
    stays_[&request] = known_[index].stay;
    known_[index].served += static_cast<double>(tokens) / request.request.tenant_share;
    forget();
  }
  void refund(const request_state& request, std::uint64_t tokens) {
    const auto found = known_.find(request.request.tenant_index);
    if (found == known_.end() || found->second.stay != stays_.at(&request)) return;
    found->second.served -= static_cast<double>(tokens) / request.request.tenant_share;
    forget();
  }
  request_state* front() const {
    const auto rank = [&](const request_state* each) {
      const bool fresh = each->key.fresh;
      const counter none{};
      const counter& its = fresh ? known_.at(each->request.tenant_index) : none;
      return std::tuple(fresh, its.served, its.since, each->key);
    };
    const auto found = std::ranges::min_element(waiting_, {}, rank);
    return found == waiting_.end() ? nullptr : *found;
  }
  std::vector<request_state*> all_in_order() const {
    naive_queue later = *this;
    std::vector<request_state*> order;
    while (request_state* next = later.front()) {
      order.push_back(next);
      if (next->key.fresh)
        later.known_.at(next->request.tenant_index).served +=
            static_cast<double>(next->queued_work.tokens()) / next->request.tenant_share;
      std::erase(later.waiting_, next);
    }
    return order;
  }

 private:
  struct counter {
    double served = 0.0;
    std::uint64_t since = 0, stay = 0;
  };

  bool waits(std::uint32_t index) const {
    return std::ranges::any_of(waiting_, [&](const request_state* each) {
      return each->key.fresh && each->request.tenant_index == index;
    });
  }
  double floor() const {
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [index, its] : known_) {
      if (waits(index)) least = std::min(least, its.served);
    }
    return std::isinf(least) ? last_served_ : least;
  }
  void forget() {
    const double below = floor();
    std::erase_if(known_, [&](const auto& each) {
      return !waits(each.first) && each.second.served <= below;
    });
  }

  std::vector<request_state*> waiting_;
  std::map<std::uint32_t, counter> known_;
  std::map<const request_state*, std::uint64_t> stays_;
  std::uint64_t next_stay_ = 0;
  double last_served_ = 0.0;
  std::uint64_t next_since_ = 0;
};

}  // namespace

TEST_CASE("the order is that of a naive virtual token counter", "[schedule][shares]") {
  const auto seed = GENERATE(range(1u, 13u));
  INFO("seed " << seed);
  std::mt19937 random(seed);
  fair_queue queue;
  naive_queue naive;
  std::vector<std::unique_ptr<request_state>> waiting, admitted;
  for (std::uint64_t step = 0; step < 1'500; ++step) {
    const auto operation = random() % 8;
    if (operation < 3 && waiting.size() < 30) {
      const std::size_t place = random() % shares.size();
      auto request =
          make(static_cast<std::uint32_t>(place), step, 1 + random() % 50, shares[place]);
      request->key.fresh = random() % 8 != 0;
      request->key.priority = static_cast<std::int32_t>(random() % 3);
      queue.insert(*request);
      naive.insert(*request);
      waiting.push_back(std::move(request));
    } else if (operation < 6 && !waiting.empty()) {
      const auto found =
          std::ranges::find(waiting, queue.front(), &std::unique_ptr<request_state>::get);
      REQUIRE(found != waiting.end());
      if ((*found)->key.fresh) naive.charge(**found, (*found)->queued_work.tokens());
      naive.erase(**found);
      (*found)->key.fresh ? admit(queue, **found) : queue.erase(**found);
      if ((*found)->key.fresh) admitted.push_back(std::move(*found));
      waiting.erase(found);
    } else if (operation == 6 && !waiting.empty()) {
      std::swap(waiting[random() % waiting.size()], waiting.back());
      queue.erase(*waiting.back());
      naive.erase(*waiting.back());
      REQUIRE(!queue.contains(*waiting.back()));
      waiting.pop_back();
    } else if (operation == 7 && !admitted.empty()) {
      request_state& corrected = *admitted[random() % admitted.size()];
      const std::uint64_t tokens = random() % 20;
      if (random() % 2 == 0) {
        corrected.charge_stay = queue.charge(corrected, tokens);
        naive.charge(corrected, tokens);
      } else {
        queue.refund(corrected, tokens);
        naive.refund(corrected, tokens);
      }
    }
    queue.check_integrity();
    REQUIRE(queue.size() == waiting.size());
    REQUIRE(queue.front() == naive.front());
    for (const auto& each : waiting) REQUIRE(queue.contains(*each));
    const auto order = naive.all_in_order();
    const std::size_t count = random() % 40;
    const std::span expected(order.data(), std::min(count, order.size()));
    REQUIRE(std::ranges::equal(queue.first(count), expected));
  }
}

TEST_CASE("what was charged before a rest is no credit after it", "[schedule][shares]") {
  fair_queue queue;
  auto early = make(1, 0, 1'000, 1.0);
  queue.insert(*early);
  admit(queue, *early);
  std::vector<std::unique_ptr<request_state>> waiting;
  for (std::uint64_t i = 1; i <= 100; ++i) {  // the other one is served more meanwhile
    auto request = make(2, i, 20, 1.0);
    queue.insert(*request);
    if (i < 100) admit(queue, *request);
    waiting.push_back(std::move(request));
  }
  for (std::uint64_t i = 101; i <= 103; ++i) {
    waiting.push_back(make(static_cast<std::uint32_t>(i % 2 + 1), i, 20, 1.0));
    queue.insert(*waiting.back());
  }
  const auto before = tenants_of(queue);
  queue.refund(*early, 900);
  CHECK(tenants_of(queue) == before);
  CHECK(std::ranges::count(before, 1u) == 1);
}

TEST_CASE("turns follow shares and tokens", "[schedule][shares]") {
  fair_queue queue;
  std::vector<std::unique_ptr<request_state>> waiting;
  for (std::uint64_t i = 0; i < 4; ++i) waiting.push_back(make(1, i, 10, 1.0));
  for (std::uint64_t i = 4; i < 12; ++i) waiting.push_back(make(2, i, 10, 2.0));
  for (const auto& each : waiting) queue.insert(*each);
  CHECK(tenants_of(queue) == std::vector<std::uint32_t>{1, 2, 2, 1, 2, 2, 1, 2, 2, 1, 2, 2});

  fair_queue sizes;
  waiting.clear();
  for (std::uint64_t i = 0; i < 2; ++i) waiting.push_back(make(1, i, 40));
  for (std::uint64_t i = 2; i < 9; ++i) waiting.push_back(make(2, i, 10));
  for (const auto& each : waiting) sizes.insert(*each);
  CHECK(tenants_of(sizes) == std::vector<std::uint32_t>{1, 2, 2, 2, 2, 1, 2, 2, 2});
}

TEST_CASE("idleness earns nothing, and debts are kept while others wait", "[schedule][shares]") {
  fair_queue queue;
  std::vector<std::unique_ptr<request_state>> waiting;
  const auto add = [&](std::uint32_t index, std::uint64_t tokens = 10) {
    waiting.push_back(make(index, waiting.size(), tokens));
    queue.insert(*waiting.back());
  };
  for (int i = 0; i < 10; ++i) add(1);
  for (int i = 0; i < 6; ++i) admit(queue, *queue.front());
  for (int i = 0; i < 4; ++i) add(2);
  CHECK(tenants_of(queue) == std::vector<std::uint32_t>{1, 2, 1, 2, 1, 2, 1, 2});
  while (queue.size() != 0) admit(queue, *queue.front());

  // Both are equal again; one that leaves with a debt comes back with it.
  add(1, 100);
  add(2);
  add(2);
  admit(queue, *queue.front());
  add(1);
  CHECK(tenants_of(queue) == std::vector<std::uint32_t>{2, 2, 1});
}

TEST_CASE("who was preempted comes first, whoever's turn it is", "[schedule][shares]") {
  fair_queue queue;
  const auto served = make(1, 0, 100), again = make(1, 1), other = make(2, 2);
  again->key.fresh = false;
  queue.insert(*served);
  queue.insert(*other);
  admit(queue, *served);
  queue.insert(*again);
  CHECK(queue.front() == again.get());
  queue.erase(*again);
  CHECK(queue.front() == other.get());
}

TEST_CASE("tenants that come and go are forgotten", "[schedule][shares]") {
  fair_queue queue;
  const auto stays = make(0, 0);
  queue.insert(*stays);
  for (std::uint32_t i = 1; i < 5'000; ++i) {
    const auto passes = make(i, i, 1'000'000);
    queue.insert(*passes);
    admit(queue, *passes);
    queue.check_integrity();
  }
  CHECK(queue.tenant_count() <= limits::resting_tenants_max + 1);
  queue.erase(*stays);
  CHECK(queue.front() == nullptr);
}
