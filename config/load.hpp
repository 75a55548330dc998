#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>
#include "config/config.hpp"
#include "kernels/base/result.hpp"
namespace troupe {
struct config_key { std::string path, flag, group; std::string help() const { return path; } };
struct config_override { std::string key, value; };
inline std::vector<config_key> config_schema() { return {{"model","--model","Server"},{"http","--http","Server"},{"zmq","--zmq","Server"},{"served_model_name","--served-model-name","Server"},{"threads","--threads","Server"},{"max_num_seqs","--max-num-seqs","Engine"},{"cpu_kv_cache_gib","--cpu-kv-cache-gib","Engine"},{"kv_cache_dtype","--kv-cache-dtype","Engine"}}; }
inline result<server_config> load_config(std::optional<std::filesystem::path>, std::span<const config_override> o) {
 server_config c; for (auto& x : o) { if (x.key=="model") c.model=x.value; if (x.key=="http") c.http=x.value; if (x.key=="zmq") c.zmq=x.value; if (x.key=="served_model_name") c.served_model_name=x.value; if (x.key=="threads") c.threads=std::stoul(x.value); if (x.key=="max_num_seqs") c.max_num_seqs=std::stoul(x.value); if(x.key=="kv_cache_dtype") c.kv_cache_dtype=x.value; if (x.key=="cpu_kv_cache_gib") c.cpu_kv_cache_gib=std::stod(x.value);} return c; }
}
