"""Those parts of a network's C file that are the same for all networks."""

GUARDS = """\
   void NAME_predict(const INPUT *x, OUTPUT *y)
       The outputs of one sample: x has NAME_inputs numbers and y gets NAME_outputs; they may not
       overlap.
ABOUT_PROBA   int NAME_self_test(void)
       0 where this file, as it was compiled and runs here, gives the bits that it should; else how
       many of its checks fail.

   It is C99, and C++17; link with -lm. No option may allow roundings other than IEEE 754's:
   -ffast-math is refused, and so is what belongs to it where a compiler tells. What Clang does not
   tell, -ffp-contract=fast and -fassociative-math, the self-test finds. */

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "this file has to be compiled without -ffast-math: it would give other bits"
#endif
#if defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "this file has to be compiled without -ffast-math: it would give other bits"
#endif
/* With 16 only numbers shorter than float are computed as such. */
#if !defined(FLT_EVAL_METHOD) || (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16)
#error "this file needs FLT_EVAL_METHOD 0: each operation rounded to its own type"
#endif

/* No product may be fused with a sum. GCC does not know the standard's pragma, inlines functions
   into those of other options, and makes fused vectors of unrolled sums and differences even
   with -ffp-contract=off. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize ("fp-contract=off", "no-tree-slp-vectorize")
#define NAME_APART __attribute__((noinline, noclone))
#elif defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#define NAME_APART __attribute__((noinline))
#else
#pragma STDC FP_CONTRACT OFF
#define NAME_APART
#endif

#ifdef __cplusplus
extern "C" {
#endif
"""

PROTOTYPES = """
NAME_APART void NAME_predict(const INPUT *x, OUTPUT *y);
NAME_APART int NAME_self_test(void);
"""

SOFTMAX = """
void NAME_predict_proba(const INPUT *x, REAL *p)
{
    REAL most, total;
    size_t m;
    NAME_raw(x, p);
    most = p[0];
    for (m = 1; m < NAME_outputs; m++)
        most = p[m] > most ? p[m] : most;
    for (m = 0; m < NAME_outputs; m++)
        p[m] = EXP;
    total = p[0];
    for (m = 1; m < NAME_outputs; m++)
        total = total + p[m];
    total = 1.0SUFFIX / total;
    for (m = 0; m < NAME_outputs; m++)
        p[m] = p[m] * total;
}
"""

SIGMOIDS = """
void NAME_predict_proba(const INPUT *x, REAL *p)
{
    size_t m;
    NAME_raw(x, p);
    for (m = 0; m < NAME_outputs; m++)
        p[m] = SIGMOID;
}
"""

SUM = """
static uint64_t NAME_sum_of_TYPE(const TYPE *values, size_t count, uint64_t sum)
{
    BITS bits;
    size_t i;
    for (i = 0; i < count; i++) {
        memcpy(&bits, &values[i], sizeof bits);
        sum = (sum ^ bits) * UINT64_C(0x100000001b3);
    }
    return sum;
}
"""

DIFFERENCE = """
/* Whether a bit differs; any NaN is any other. */
static int NAME_differs_in_TYPE(const TYPE *got, const TYPE *want, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (!(got[i] != got[i] && want[i] != want[i])
            && memcmp(&got[i], &want[i], sizeof got[i]) != 0)
            return 1;
    return 0;
}
"""

SELF_TEST = """
int NAME_self_test(void)
{
    OUTPUT y[NAME_outputs];DECLARED
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    int failed;
    size_t i;
    /* Above 1 and below: their product is 1, unless a sum that it goes into is fused with it. */
    volatile double above = 0x1.0000002p+0, below = 0x1.ffffffcp-1;
    volatile double large = 0x1p+60, least_normal = DBL_MIN;
    const double taken = large;
SUMS
    failed = above * below - 1.0 != 0.0;
    failed += (taken + 1.0) - taken != 0.0;
    failed += !(0.5 * least_normal > 0.0);
    failed += sum != UINT64_C(CHECKSUM);
    for (i = 0; i < COUNT; i++) {
        NAME_predict(NAME_golden_x + i * NAME_inputs, y);
        failed += NAME_differs_in_OUTPUT(
            y, NAME_golden_y + i * NAME_outputs, NAME_outputs);TRIED
    }
    return failed;
}
"""

MAIN = """
#ifdef __cplusplus
}
#endif

/* A program: the self-test, and then for each sample on standard input a line of its outputs. */
#ifdef UPPER_MAIN
#include <stdio.h>

int main(void)
{
    static INPUT x[NAME_inputs];
    static OUTPUT y[NAME_outputs];DECLARED
    size_t i;
    int read;
    if (NAME_self_test() != 0) {
        fputs("NAME: the self-test failed\\n", stderr);
        return 1;
    }
    for (;;) {
        for (i = 0; i < NAME_inputs; i++) {
            read = scanf("FORMAT", &x[i]);
            if (read == EOF && i == 0)
                return 0;
            if (read != 1) {
                fputs("NAME: no number, or not as many as there are inputs\\n", stderr);
                return 2;
            }
        }
        NAME_predict(x, y);
        for (i = 0; i < NAME_outputs; i++)
            printf(i == 0 ? "%a" : " %a", (double)y[i]);PRINTED
        putchar('\\n');
    }
}
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
"""
