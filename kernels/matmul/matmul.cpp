// Dispatch of matmul and quantize_row, and the split of a region's work into tasks.
#include "kernels/matmul/matmul.hpp"

#include <algorithm>
#include <array>

#include "kernels/matmul/packed_state.hpp"

namespace troupe::kernels {

namespace {

const matmul_kernels& kernels_of(isa set) {
  switch (set) {
    case isa::reference: return matmul_reference;
    case isa::avx2: return matmul_avx2;
    case isa::avx512: return matmul_avx512;
  }
  TROUPE_CHECK(false);
}

// Jobs of one parallel region. More are run in several regions.
constexpr std::size_t region_jobs_max = 16;
// Weights that a task walks again for each of its row tiles; a quarter of a common L2 cache.
constexpr std::size_t task_weight_bytes_max = 256 * 1024;
// Row tiles in a task: the weights come from L2 rather than from memory for all but the first.
constexpr std::size_t task_row_tiles_max = 4;
// Claiming a task costs about 100 ns when two threads want it: 2 % of this many cycles at 4 GHz.
constexpr std::size_t task_cycles_min = 20'000;
// With this many tasks a thread, the last one to finish idles the others for 3 % of the region at
// most.
constexpr std::size_t tasks_per_thread = 16;

// How one job is cut: tasks are (panel range) x (row range).
struct job_plan {
  std::size_t panels_per_task = 1, panel_tasks = 0;
  std::size_t row_tiles_per_task = 1, row_tasks = 0;

  [[nodiscard]] std::size_t task_count() const { return panel_tasks * row_tasks; }
};

std::size_t divide_up(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

// Cycles of one panel for row_count rows, roughly, on a 512-bit machine: reading and unpacking the
// panel (measured 10 bytes a cycle from memory), then 11 vector operations a row and group, two a
// cycle.
std::size_t panel_cycles(const packed_matrix::state& weight, std::size_t row_count) {
  const std::size_t per_row =
      weight.quantized ? weight.group_count() * 11 / 2 : weight.column_count / 2;
  return weight.panel_bytes / 10 + row_count * per_row + 1;
}

job_plan plan_job(const packed_matrix::state& weight, std::size_t row_count,
                  std::size_t task_cycles) {
  job_plan plan;
  const std::size_t row_tiles = divide_up(row_count, tile_rows);
  plan.row_tasks = divide_up(row_tiles, task_row_tiles_max);
  plan.row_tiles_per_task = divide_up(row_tiles, plan.row_tasks);
  plan.row_tasks = divide_up(row_tiles, plan.row_tiles_per_task);
  const std::size_t rows = std::min(row_count, plan.row_tiles_per_task * tile_rows);
  std::size_t panels = std::max<std::size_t>(1, task_cycles / panel_cycles(weight, rows));
  if (plan.row_tiles_per_task > 1) {
    panels = std::min(panels, std::max<std::size_t>(1, task_weight_bytes_max / weight.panel_bytes));
  }
  panels = std::min(panels, weight.panel_count());
  plan.panel_tasks = divide_up(weight.panel_count(), panels);
  plan.panels_per_task = divide_up(weight.panel_count(), plan.panel_tasks);
  plan.panel_tasks = divide_up(weight.panel_count(), plan.panels_per_task);
  return plan;
}

void run_task(const matmul_job& job, const job_plan& plan, std::size_t row_count,
              std::size_t task) {
  const packed_matrix::state& weight = job.weight->packed();
  const matmul_kernels& kernels = kernels_of(weight.set);
  const std::size_t first_panel = task / plan.row_tasks * plan.panels_per_task;
  const std::size_t panel_count =
      std::min(plan.panels_per_task, weight.panel_count() - first_panel);
  const std::size_t first_output = first_panel * panel_outputs;
  const std::size_t first_row = task % plan.row_tasks * plan.row_tiles_per_task * tile_rows;
  const std::size_t end_row = std::min(row_count, first_row + plan.row_tiles_per_task * tile_rows);
  const std::uint8_t* panels = weight.panels.data() + first_panel * weight.panel_bytes;
  for (std::size_t row = first_row; row < end_row; row += tile_rows) {
    const std::size_t rows = std::min(tile_rows, end_row - row);
    const output_block output{
        job.output + row * job.output_stride + first_output, job.output_stride,
        job.bias != nullptr ? job.bias + first_output : nullptr,
        std::min(weight.row_count - first_output, panel_count * panel_outputs)};
    if (weight.quantized) {
      kernels.quantized({weight.format, weight.wide_scales, weight.offset_shift, panels,
                         weight.panel_bytes, panel_count, weight.group_count(),
                         job.quantized->tile(row / tile_rows), rows, output});
    } else {
      kernels.floats({weight.format, panels, weight.panel_bytes, panel_count, weight.column_count,
                      job.floats + row * job.floats_stride, job.floats_stride, rows, output});
    }
  }
}

void check_job(const matmul_job& job, std::size_t row_count) {
  TROUPE_CHECK(job.weight != nullptr && job.output != nullptr);
  TROUPE_CHECK(job.output_stride >= job.weight->row_count() || row_count == 1);
  if (job.weight->wants_quantized()) {
    TROUPE_CHECK(job.quantized != nullptr);
    TROUPE_CHECK(job.quantized->row_count() >= row_count);
    TROUPE_CHECK(job.quantized->column_count() == job.weight->column_count());
  } else {
    TROUPE_CHECK(job.floats != nullptr);
    TROUPE_CHECK(job.floats_stride >= job.weight->column_count() || row_count == 1);
  }
}

void run_region(std::span<const matmul_job> jobs, std::size_t row_count, thread_pool& pool) {
  std::size_t cycles = 0;
  for (const auto& job : jobs) {
    check_job(job, row_count);
    const auto& weight = job.weight->packed();
    cycles += weight.panel_count() * panel_cycles(weight, row_count);
  }
  const std::size_t task_cycles =
      std::max(task_cycles_min, cycles / (pool.thread_count() * tasks_per_thread));
  std::array<job_plan, region_jobs_max> plans;
  std::size_t task_count = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    plans[i] = plan_job(jobs[i].weight->packed(), row_count, task_cycles);
    task_count += plans[i].task_count();
  }
  pool.parallel_for(task_count, [&](std::size_t task, std::size_t) {
    std::size_t i = 0;
    while (task >= plans[i].task_count()) task -= plans[i++].task_count();
    run_task(jobs[i], plans[i], row_count, task);
  });
}

}  // namespace

void quantized_rows::resize(std::size_t row_count, std::size_t column_count) {
  row_count_ = row_count;
  column_count_ = column_count;
  values_.reserve_discarding(row_count * group_count() * activation_group_size);
  scales_.reserve_discarding(row_count * group_count());
  sums_.reserve_discarding(row_count * group_count() * 2);
  tiles_.reserve_discarding(divide_up(row_count, tile_rows) * group_count());
}

void quantize_row(isa set, const float* x, std::size_t row, quantized_rows& out) {
  TROUPE_CHECK(row < out.row_count());
  kernels_of(set).quantize(
      x, out.column_count(),
      {out.values(row), out.scales(row), out.sums(row),
       out.tiles_.data() + row / tile_rows * out.group_count(), row % tile_rows});
}

void matmul(std::span<const matmul_job> jobs, std::size_t row_count, thread_pool& pool) {
  if (row_count == 0) return;
  while (!jobs.empty()) {
    const std::size_t count = std::min(jobs.size(), region_jobs_max);
    run_region(jobs.first(count), row_count, pool);
    jobs = jobs.subspan(count);
  }
}

}  // namespace troupe::kernels
