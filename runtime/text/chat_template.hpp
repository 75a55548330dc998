#pragma once
#include <chrono>
#include <string>
#include <nlohmann/json.hpp>
#include "kernels/base/result.hpp"
namespace troupe { class chat_template { public: static result<chat_template> parse(std::string source); 
struct inputs { nlohmann::ordered_json messages; nlohmann::ordered_json tools; bool add_generation_prompt = true; std::string bos_token, eos_token; nlohmann::ordered_json extra; std::chrono::sys_seconds now{}; };
result<std::string> render(const inputs&) const; }; }
