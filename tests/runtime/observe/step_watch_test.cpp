// The step watch across a scheduler that is replaced: what the old one still marks does not count.
#include "runtime/observe/step_watch.hpp"

#include <catch2/catch.hpp>

namespace troupe {

TEST_CASE("a replaced scheduler's marks do not count") {
  using namespace std::chrono_literals;
  step_watch watch;
  watch.take_over(1);
  CHECK(watch.running_for(9s) == 0s);
  watch.begin(1, 2s);
  CHECK(watch.running_for(9s) == 7s);
  watch.take_over(2);
  CHECK(watch.running_for(9s) == 0s);
  watch.begin(1, 3s);
  CHECK(watch.running_for(9s) == 0s);
  watch.begin(2, 5s);
  watch.end(1);
  CHECK(watch.running_for(9s) == 4s);
  watch.end(2);
  CHECK(watch.running_for(9s) == 0s);
}

}  // namespace troupe
