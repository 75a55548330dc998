// Dispatch of matmul and quantize_block, and the split of a region's work into tasks.
#include "kernels/matmul/matmul.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "kernels/base/divide_up.hpp"
#include "kernels/matmul/packed_state.hpp"

namespace troupe::kernels {

namespace {

const matmul_kernels& kernels_of(isa set) {
  switch (set) {
    case isa::reference: return matmul_reference;
    case isa::avx2: return matmul_avx2;
    case isa::avx512: return matmul_avx512;
    case isa::amx: return matmul_amx;
    case isa::bf16_reference: return matmul_bf16_reference;
  }
  TROUPE_CHECK(false);
}

bool takes_byte_tiles(isa set, std::size_t row_count) {
  return set == isa::avx512 && row_count >= byte_tiles_rows_min && detect_cpu_features().amx_int8;
}

// What gives the set's bits and is the fastest at so many rows.
const matmul_kernels& kernels_for(const packed_matrix::state& weight, std::size_t row_count) {
  if (weight.quantized && !weight.parts().has_halves && takes_byte_tiles(weight.set, row_count))
    return matmul_bytes_amx;
  return kernels_of(weight.set);
}

// Weights that a task walks again for each of its row tiles; a quarter of a common L2 cache.
constexpr std::size_t task_weight_bytes_max = 256 * 1024;
// Row tiles in a task, or as many as a variant takes at once: the weights come from L2 rather than
// from memory for all but the first.
constexpr std::size_t task_row_tiles_max = 4;
// Claiming a task costs about 50 ns, as threads begin with shares of their own: 2 % of this many
// cycles at 4 GHz. Small enough that a thread that wakes late finds something left of its share:
// who finds nothing waits, perhaps until it sleeps, and is late again.
constexpr std::size_t task_cycles_min = 10'000;
// Of several sets (Q, K and V, whose heads are not parted) threads cannot have equal shares:
// whoever is ready first takes some of the others', which is worth claiming more.
constexpr std::size_t uneven_task_cycles_min = 3'000;
// With this many tasks a thread, the last one to finish idles the others for 3 % of the region at
// most.
constexpr std::size_t tasks_per_thread = 16;

// Where a variant takes many rows at once, threads that get as many each share the rows rather than
// the outputs: what a thread reads was then mostly written by itself, and the unpacking that each
// does costs little.
constexpr std::size_t rows_per_thread_min = 64;
// Activations that a task reads again for each of its panels, where a variant takes many rows at
// once: half of the L2 cache that machines with tiles have.
constexpr std::size_t task_activation_bytes_max = 1024 * 1024;

// Outputs of a task that only its epilogue reads, so that they are still in L2 then.
constexpr std::size_t task_scratch_bytes_max = 512 * 1024;

// How one set is cut: tasks are (panel range) x (row range).
struct set_plan {
  const matmul_kernels* kernels = nullptr;
  std::size_t panel_units = 0, unit_panels = 1, panel_tasks = 0;  // units are not parted
  std::size_t row_tiles_per_task = 1, row_tasks = 0;
  bool shares_rows = false;  // tasks of the same rows follow each other, else of the same panels

  [[nodiscard]] std::size_t task_count() const { return panel_tasks * row_tasks; }
  [[nodiscard]] std::size_t first_panel(std::size_t task) const {
    return panel_at(panel_task(task));
  }
  [[nodiscard]] std::size_t end_panel(std::size_t task) const {
    return panel_at(panel_task(task) + 1);
  }
  [[nodiscard]] std::size_t first_row(std::size_t task) const {
    return (shares_rows ? task / panel_tasks : task % row_tasks) * row_tiles_per_task * tile_rows;
  }

 private:
  [[nodiscard]] std::size_t panel_task(std::size_t task) const {
    return shares_rows ? task % panel_tasks : task / row_tasks;
  }
  [[nodiscard]] std::size_t panel_at(std::size_t part) const {
    return part * panel_units / panel_tasks * unit_panels;
  }
};

// At least one.
std::size_t panels_within(std::size_t bytes, std::size_t panel_bytes) {
  return std::max<std::size_t>(1, bytes / panel_bytes);
}

// Cycles of one panel for row_count rows, roughly: reading the panel (measured 10 bytes a cycle
// from memory) or unpacking it, then each row's vector instructions, two a cycle.
std::size_t panel_cycles(const packed_matrix::state& weight, std::size_t row_count) {
  const std::size_t reading = weight.panel_bytes / 10 + 1;
  if (!weight.quantized) return reading + row_count * weight.column_count / 2;
  const matmul_kernels& kernels = kernels_for(weight, row_count);
  const std::size_t unpacking = weight.group_count() * kernels.unpack_cycles;
  return std::max(reading, unpacking) +
         row_count * weight.group_count() * kernels.row_instructions / 2;
}

const packed_matrix::state& first_weight(const matmul_set& set) {
  return set.jobs[0].weight->packed();
}

std::size_t set_panel_cycles(const matmul_set& set, std::size_t row_count) {
  std::size_t cycles = 0;
  for (const matmul_job& job : set.jobs) cycles += panel_cycles(job.weight->packed(), row_count);
  return cycles;
}

bool has_scratch(const matmul_set& set) {
  return std::ranges::any_of(set.jobs, [](const matmul_job& job) { return job.output == nullptr; });
}

std::size_t set_panel_bytes(const matmul_set& set) {
  std::size_t bytes = 0;
  for (const matmul_job& job : set.jobs) bytes += job.weight->packed().panel_bytes;
  return bytes;
}

// Row tiles of a task: as many as a variant takes at once, of which the activations stay cached.
// Where that parts them, no task gets too few to be worth unpacking for.
std::size_t row_tiles_per_task(const packed_matrix::state& weight, const matmul_kernels& kernels,
                               std::size_t row_tiles, std::size_t share) {
  const std::size_t at_once = kernels.rows_max / tile_rows;
  if (at_once == 1 || !weight.quantized)
    return divide_up(row_tiles, divide_up(row_tiles, task_row_tiles_max));
  const std::size_t tile_bytes =
      weight.group_count() *
      (multiplies_in_bf16(weight.set) ? sizeof(bf16_group)
       : weight.parts().has_zero_point
           ? sizeof(activation_group)
           : sizeof(activation_group) - sizeof(activation_group::offset_sums));
  const std::size_t cached = std::max<std::size_t>(1, task_activation_bytes_max / tile_bytes);
  const std::size_t tasks = divide_up(row_tiles, std::min({at_once, cached, share}));
  const std::size_t tasks_max =
      std::max({std::size_t{1}, row_tiles / task_row_tiles_max, divide_up(row_tiles, at_once)});
  return divide_up(row_tiles, std::min(tasks, tasks_max));
}

set_plan plan_set(const matmul_set& set, std::size_t row_count, std::size_t task_cycles,
                  std::size_t sharer_count) {
  const packed_matrix::state& weight = first_weight(set);
  const std::size_t panel_count = weight.panel_count();
  const matmul_kernels& kernels = kernels_for(weight, row_count);
  // Panels that must not be parted: whole multiples of both.
  const std::size_t unit = std::lcm(set.output_multiple, kernels.outputs_together) / panel_outputs;
  set_plan plan;
  plan.kernels = &kernels;
  const std::size_t row_tiles = divide_up(row_count, tile_rows);
  plan.shares_rows =
      kernels.rows_max > tile_rows && row_count >= sharer_count * rows_per_thread_min;
  plan.row_tiles_per_task =
      row_tiles_per_task(weight, kernels, row_tiles,
                         plan.shares_rows ? divide_up(row_tiles, sharer_count) : row_tiles);
  plan.row_tasks = divide_up(row_tiles, plan.row_tiles_per_task);
  const std::size_t rows = std::min(row_count, plan.row_tiles_per_task * tile_rows);
  std::size_t panels = std::max<std::size_t>(1, task_cycles / set_panel_cycles(set, rows));
  if (plan.row_tiles_per_task > 1 && kernels.rows_max == tile_rows) {
    panels = std::min(panels, panels_within(task_weight_bytes_max, set_panel_bytes(set)));
  }
  if (has_scratch(set) && kernels.rows_max > tile_rows) {
    panels =
        std::min(panels, panels_within(task_scratch_bytes_max,
                                       set.jobs.size() * rows * panel_outputs * sizeof(float)));
  }
  plan.unit_panels = unit;
  plan.panel_units = divide_up(panel_count, unit);
  plan.panel_tasks = divide_up(panel_count, panels);
  // More than one are as many for each thread, as far as there are units, and about the same size.
  if (plan.row_tasks == 1 && plan.panel_tasks > 1)
    plan.panel_tasks = divide_up(plan.panel_tasks, sharer_count) * sharer_count;
  plan.panel_tasks = std::min(plan.panel_tasks, plan.panel_units);
  return plan;
}

// Rows row_first .. of some tiles, panels first_panel ..
void run_tiles(const matmul_kernels& kernels, const matmul_job& job, const output_range& range,
               const made_outputs& made, std::size_t first_panel, std::size_t panel_count,
               const std::uint8_t* next_panel, read_ahead* ahead) {
  const packed_matrix::state& weight = job.weight->packed();
  const std::uint8_t* panels = weight.panels + first_panel * weight.panel_bytes;
  const output_block output{made.first, made.stride,
                            job.bias != nullptr ? job.bias + range.output_first : nullptr, job.adds,
                            range.output_count};
  if (weight.quantized) {
    const std::size_t tile = range.row_first / tile_rows;
    kernels.quantized({.format = weight.format,
                       .offset_shift = weight.offset_shift,
                       .scale_shift = weight.scale_shift,
                       .output_factor = weight.output_factor,
                       .panels = panels,
                       .panel_bytes = weight.panel_bytes,
                       .panel_count = panel_count,
                       .next_panel = next_panel,
                       .ahead = ahead,
                       .group_count = weight.group_count(),
                       .activations = job.quantized->tile(tile),
                       .bf16_activations = job.quantized->bf16_tile(tile),
                       .row_count = range.row_count,
                       .output = output});
  } else {
    kernels.floats({weight.format, panels, weight.panel_bytes, panel_count, weight.column_count,
                    job.floats + range.row_first * job.floats_stride, job.floats_stride,
                    range.row_count, output});
  }
}

const std::uint8_t* panel_of(const matmul_job& job, std::size_t panel) {
  const packed_matrix::state& weight = job.weight->packed();
  return weight.panels + panel * weight.panel_bytes;
}

// Where a range's outputs go, by job. Scratch rows are an odd number of cache lines apart, so that
// they do not all fall into the same cache sets.
std::array<made_outputs, matmul_set_jobs_max> place_outputs(const matmul_set& set,
                                                            const output_range& range,
                                                            aligned_buffer<float>& scratch) {
  std::array<made_outputs, matmul_set_jobs_max> made;
  const std::size_t stride = (divide_up(range.output_count, panel_outputs) | 1) * panel_outputs;
  for (std::size_t i = 0; i < set.jobs.size(); ++i) {
    const matmul_job& job = set.jobs[i];
    if (job.output != nullptr) {
      made[i] = {job.output + range.row_first * job.output_stride + range.output_first,
                 job.output_stride};
    } else {
      scratch.reserve_discarding(set.jobs.size() * range.row_count * stride);
      made[i] = {scratch.data() + i * range.row_count * stride, stride};
    }
  }
  return made;
}

// next_panel: what this thread will probably read afterwards.
void run_task(const matmul_set& set, const set_plan& plan, std::size_t row_count, std::size_t task,
              const std::uint8_t* next_panel, read_ahead* ahead) {
  const packed_matrix::state& weight = first_weight(set);
  const std::size_t first_panel = plan.first_panel(task);
  const std::size_t panel_count =
      std::min(plan.end_panel(task), weight.panel_count()) - first_panel;
  const std::size_t first_row = plan.first_row(task);
  const std::size_t end_row = std::min(row_count, first_row + plan.row_tiles_per_task * tile_rows);
  output_range range;
  range.output_first = first_panel * panel_outputs;
  range.output_count = std::min(weight.row_count - range.output_first, panel_count * panel_outputs);
  const std::size_t rows_max = plan.kernels->rows_max;
  thread_local aligned_buffer<float> scratch;  // capacity that calls reuse
  for (range.row_first = first_row; range.row_first < end_row; range.row_first += rows_max) {
    range.row_count = std::min(rows_max, end_row - range.row_first);
    const auto made = place_outputs(set, range, scratch);
    range.made = std::span(made).first(set.jobs.size());
    const bool is_last = range.row_first + rows_max >= end_row;
    for (std::size_t i = 0; i < set.jobs.size(); ++i) {
      const bool is_last_job = i + 1 == set.jobs.size();
      const std::uint8_t* const next =
          is_last && is_last_job ? next_panel
                                 : panel_of(set.jobs[is_last_job ? 0 : i + 1], first_panel);
      run_tiles(*plan.kernels, set.jobs[i], range, made[i], first_panel, panel_count, next, ahead);
    }
    set.epilogue(range);
  }
}

// A region's tasks: those of its sets, one after another. Where all sets share the same rows they
// are so in rounds of one row task each: a thread's tasks are of its own rows in every set.
class region {
 public:
  region(std::span<const matmul_set> sets, std::size_t row_count, std::size_t task_cycles,
         std::size_t sharer_count, read_ahead* ahead)
      : sets_(sets), row_count_(row_count), ahead_(ahead) {
    for (std::size_t i = 0; i < sets.size(); ++i) {
      plans_[i] = plan_set(sets[i], row_count, task_cycles, sharer_count);
      task_count_ += plans_[i].task_count();
    }
    const auto plans = std::span(plans_).first(sets.size());
    const set_plan& first = plans_[0];
    const bool share_the_same_rows = std::ranges::all_of(plans, [&](const set_plan& plan) {
      return plan.shares_rows && plan.row_tasks == first.row_tasks;
    });
    if (share_the_same_rows) round_count_ = first.row_tasks;
  }

  [[nodiscard]] std::size_t task_count() const { return task_count_; }

  // next_task: what the same thread will probably run afterwards, if the region has it.
  void run(std::size_t task, std::size_t next_task) const {
    const place next = place_of(next_task < task_count_ ? next_task : task);
    const place now = place_of(task);
    run_task(sets_[now.set], plans_[now.set], row_count_, now.task,
             panel_of(sets_[next.set].jobs[0], plans_[next.set].first_panel(next.task)), ahead_);
  }

 private:
  struct place {
    std::size_t set, task;
  };

  [[nodiscard]] place place_of(std::size_t task) const {
    const std::size_t round_tasks = task_count_ / round_count_;
    const std::size_t round = task / round_tasks;
    std::size_t in_round = task % round_tasks;
    for (std::size_t set = 0;; ++set) {
      const std::size_t count = plans_[set].task_count() / round_count_;
      if (in_round < count) return {set, round * count + in_round};
      in_round -= count;
    }
  }

  std::span<const matmul_set> sets_;
  std::size_t row_count_;
  read_ahead* ahead_;
  std::array<set_plan, matmul_sets_max> plans_;
  std::size_t task_count_ = 0;
  std::size_t round_count_ = 1;
};

void check_job(const matmul_job& job, std::size_t row_count) {
  TROUPE_CHECK(job.weight != nullptr);
  TROUPE_CHECK(!job.adds || job.output != nullptr);
  TROUPE_CHECK(job.output == nullptr || row_count == 1 ||
               job.output_stride >= job.weight->row_count());
  if (job.weight->wants_quantized()) {
    TROUPE_CHECK(job.quantized != nullptr);
    TROUPE_CHECK(job.quantized->row_count() >= row_count);
    TROUPE_CHECK(job.quantized->column_count() == job.weight->column_count());
    const isa set = job.weight->instruction_set();
    TROUPE_CHECK(job.quantized->is_bf16() == multiplies_in_bf16(set));
    TROUPE_CHECK(set != isa::avx512 || !job.weight->packed().parts().has_zero_point ||
                 job.quantized->has_offset_sums());
  } else {
    TROUPE_CHECK(job.floats != nullptr);
    TROUPE_CHECK(job.floats_stride >= job.weight->column_count() || row_count == 1);
  }
}

}  // namespace

std::size_t rows_alone_min(isa set, std::size_t row_count) {
  return (takes_byte_tiles(set, row_count) ? matmul_bytes_amx : kernels_of(set)).rows_alone_min;
}

void quantized_rows::resize(isa set, std::size_t row_count, std::size_t column_count) {
  row_count_ = row_count;
  column_count_ = column_count;
  is_bf16_ = multiplies_in_bf16(set);
  has_offset_sums_ = set == isa::avx512;
  const std::size_t count = divide_up(row_count, tile_rows) * group_count();
  if (is_bf16_) {
    bf16_tiles_.reserve_discarding(count);
  } else {
    tiles_.reserve_discarding(count);
  }
}

void quantize_row(isa set, const float* x, std::size_t row, quantized_rows& out) {
  quantize_block(set, {.first = x, .stride = 0, .row_count = 1, .column_count = out.column_count()},
                 row, 0, out);
}

void quantize_block(isa set, const float_block& x, std::size_t row_first, std::size_t column_first,
                    quantized_rows& out) {
  const std::size_t row_end = row_first + x.row_count;
  const std::size_t column_end = column_first + x.column_count;
  TROUPE_CHECK(row_end <= out.row_count() && column_end <= out.column_count());
  TROUPE_CHECK(column_first % activation_group_size == 0);
  TROUPE_CHECK(column_end % activation_group_size == 0 || column_end == out.column_count());
  TROUPE_CHECK(out.is_bf16() == multiplies_in_bf16(set));
  const matmul_kernels& kernels = kernels_of(set);
  float_block some = x;
  for (std::size_t row = row_first; row < row_end; row += some.row_count) {
    some.first = x.row(row - row_first);
    some.row_count = std::min(part_rows - row % part_rows, row_end - row);
    const std::size_t at =
        row / tile_rows * out.group_count() + column_first / activation_group_size;
    kernels.quantize(some, {.groups = out.is_bf16() ? nullptr : out.tiles_.data() + at,
                            .bf16_groups = out.is_bf16() ? out.bf16_tiles_.data() + at : nullptr,
                            .row_in_tile = row % tile_rows});
  }
}

void matmul(std::span<const matmul_set> sets, std::size_t row_count, thread_pool& pool,
            read_ahead* ahead) {
  TROUPE_CHECK(sets.size() <= matmul_sets_max);
  if (row_count == 0) return;
  std::size_t cycles = 0;
  for (const matmul_set& set : sets) {
    TROUPE_CHECK(!set.jobs.empty() && set.jobs.size() <= matmul_set_jobs_max);
    TROUPE_CHECK(set.output_multiple > 0);
    for (const matmul_job& job : set.jobs) {
      check_job(job, row_count);
      TROUPE_CHECK(job.output != nullptr || !set.epilogue.is_empty());
      TROUPE_CHECK(job.weight->row_count() == set.jobs[0].weight->row_count());
      TROUPE_CHECK(job.weight->instruction_set() == set.jobs[0].weight->instruction_set());
    }
    cycles += first_weight(set).panel_count() * set_panel_cycles(set, row_count);
  }
  const std::size_t task_cycles =
      std::max(sets.size() == 1 ? task_cycles_min : uneven_task_cycles_min,
               cycles / (pool.thread_count() * tasks_per_thread));
  // The caller of an open pool is mostly alone: rows that are not shared are unpacked for once.
  const std::size_t sharer_count = pool.is_open() ? 1 : pool.thread_count();
  const region work(sets, row_count, task_cycles, sharer_count, ahead);
  pool.parallel_for(work.task_count(),
                    [&](std::size_t task, std::size_t) { work.run(task, task + 1); });
}

void matmul(const matmul_job& job, std::size_t row_count, thread_pool& pool, read_ahead* ahead) {
  const matmul_set set{.jobs = {&job, 1}, .epilogue = {}};
  matmul({&set, 1}, row_count, pool, ahead);
}

}  // namespace troupe::kernels
