// <immintrin.h> for *_avx512.cpp. GCC 12's own header starts results from self-initialized
// "undefined" registers (GCC bug 105593), and warns of them wherever they are inlined: in the whole
// file that includes this.
#pragma once

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
