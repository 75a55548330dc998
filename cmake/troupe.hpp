// Troupe in an application: open an embedded_engine, generate, or have an actor of your own receive
// the events.
#pragma once

#include "actors/embedded/embedded.hpp"
