/* How many products and sums one core does a second, with all operands in registers.

   Each function moves CHAINS independent vectors on, v = v * factor + term, `rounds` times, and
   returns the sum of them all. The chains start with different values, or they would be one.
   Compiled with -ffp-contract=off, product and sum are two instructions; with -ffp-contract=fast
   they are one, where the CPU has it. */

#include <stdint.h>

#define PROBE(NAME, REAL, BYTES, CHAINS)                                                           \
    REAL NAME(int64_t rounds, REAL start, REAL factor, REAL term)                                  \
    {                                                                                              \
        typedef REAL vector __attribute__((vector_size(BYTES)));                                   \
        const int lanes = BYTES / sizeof(REAL);                                                    \
        vector chains[CHAINS], factors, terms;                                                     \
        REAL total = 0;                                                                            \
        for (int lane = 0; lane < lanes; lane++) {                                                 \
            factors[lane] = factor;                                                                \
            terms[lane] = term;                                                                    \
        }                                                                                          \
        for (int i = 0; i < CHAINS; i++)                                                           \
            for (int lane = 0; lane < lanes; lane++)                                               \
                chains[i][lane] = start + (REAL)i;                                                 \
        for (int64_t r = 0; r < rounds; r++) {                                                     \
            _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++) chains[i] =                  \
                chains[i] * factors + terms;                                                       \
        }                                                                                          \
        for (int i = 0; i < CHAINS; i++)                                                           \
            for (int lane = 0; lane < lanes; lane++)                                               \
                total += chains[i][lane];                                                          \
        return total;                                                                              \
    }

#define PROBES(REAL, BYTES)                                                                        \
    PROBE(REAL##_##BYTES##_8, REAL, BYTES, 8)                                                      \
    PROBE(REAL##_##BYTES##_12, REAL, BYTES, 12)                                                    \
    PROBE(REAL##_##BYTES##_16, REAL, BYTES, 16)                                                    \
    PROBE(REAL##_##BYTES##_24, REAL, BYTES, 24)

PROBES(float, 16)
PROBES(float, 32)
PROBES(float, 64)
PROBES(double, 16)
PROBES(double, 32)
PROBES(double, 64)
