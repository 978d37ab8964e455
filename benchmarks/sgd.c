/* SGD on a network, all sizes known to the compiler, in the contract's order of sums.

   REAL, N samples a step, INPUTS and OUTPUTS are macros, and so are the calls that make the
   network of the functions below: PARAMS, FORWARD, BACKWARD and RESULT. A layer has K inputs and M
   outputs; its arrays are flat, row after row. A sum starts with -0.0, which changes no term. */

#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

/* y (N, M) = x (N, K) w (K, M), outputs side by side in vectors for one sample, else samples. */
INLINE void product(const int K, const int M, const REAL *x, const REAL *w, REAL *y)
{
    if (N > 1) {
        REAL columns[K * N];

        for (int k = 0; k < K; k++)
            for (int n = 0; n < N; n++)
                columns[k * N + n] = x[n * K + k];
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                REAL sum = (REAL)-0.0;
                for (int k = 0; k < K; k++)
                    sum += columns[k * N + n] * w[k * M + m];
                y[n * M + m] = sum;
            }
        return;
    }
    for (int m = 0; m < M; m++)
        y[m] = (REAL)-0.0;
    for (int k = 0; k < K; k++)
        for (int m = 0; m < M; m++)
            y[m] += x[k] * w[k * M + m];
}

INLINE void forward(const int K, const int M, const REAL *x, const REAL *w, const REAL *b, REAL *y)
{
    product(K, M, x, w, y);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++)
            y[n * M + m] += b[m];
}

INLINE void relu(const int M, REAL *y)
{
    for (int i = 0; i < N * M; i++)
        y[i] = y[i] < 0 ? 0 : y[i];
}

/* Returns the loss; dy is its gradient. */
INLINE REAL loss(const int M, const REAL *y, const REAL *t, REAL *dy)
{
    REAL squares[N], total;

    for (int i = 0; i < N * M; i++)
        dy[i] = y[i] - t[i];
    for (int n = 0; n < N; n++) {
        squares[n] = dy[n * M] * dy[n * M];
        for (int m = 1; m < M; m++)
            squares[n] += dy[n * M + m] * dy[n * M + m];
    }
    total = squares[0];
    for (int n = 1; n < N; n++)
        total += squares[n];
    for (int i = 0; i < N * M; i++)
        dy[i] *= (REAL)(2.0 / N);
    return total * (REAL)(1.0 / N);
}

/* dx (N, K) = the gradient of x = relu(...) for dy (N, M) v, where v (M, K) is w transposed. */
INLINE void backward(const int K, const int M, const REAL *dy, const REAL *v, const REAL *x,
                     REAL *dx)
{
    product(M, K, dy, v, dx);
    for (int i = 0; i < N * K; i++)
        dx[i] = x[i] > 0 ? dx[i] : 0;
}

INLINE void update(const int K, const int M, const REAL *x, const REAL *dy, REAL *w, const REAL lr)
{
    for (int k = 0; k < K; k++)
        for (int m = 0; m < M; m++) {
            REAL dw = x[k] * dy[m];
            for (int n = 1; n < N; n++)
                dw += x[n * K + k] * dy[n * M + m];
            w[k * M + m] -= lr * dw;
        }
}

INLINE void update_bias(const int M, const REAL *dy, REAL *b, const REAL lr)
{
    for (int m = 0; m < M; m++) {
        REAL db = dy[m];
        for (int n = 1; n < N; n++)
            db += dy[n * M + m];
        b[m] -= lr * db;
    }
}

INLINE void transpose(const int K, const int M, const REAL *w, REAL *v)
{
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++)
            v[m * K + k] = w[k * M + m];
}

/* For one sample, taking the same step takes less than transposing: 0.6 us instead of 12 for
   4-64-64-2 on a Zen 4. */
INLINE void update_transposed(const int K, const int M, const REAL *x, const REAL *dy,
                              const REAL *w, REAL *v, const REAL lr)
{
    if (N == 1)
        update(M, K, dy, x, v, lr);
    else
        transpose(K, M, w, v);
}

INLINE void copy(const int count, const REAL *from, REAL *to)
{
    for (int i = 0; i < count; i++)
        to[i] = from[i];
}

/* Returns the steps taken: fewer than `steps` where a loss is not finite. */
int64_t sgd(const int64_t *drawn, int64_t steps, const REAL *x, const REAL *t, REAL *params,
            REAL lr)
{
    int64_t step = 0;

    PARAMS
    for (; step < steps; step++) {
        REAL h0[N * INPUTS], targets[N * OUTPUTS], total;

        for (int n = 0; n < N; n++) {
            const int64_t sample = drawn[step * N + n];
            copy(INPUTS, x + sample * INPUTS, h0 + n * INPUTS);
            copy(OUTPUTS, t + sample * OUTPUTS, targets + n * OUTPUTS);
        }
        FORWARD
        if (!(total - total == 0))
            break;
        BACKWARD
    }
    RESULT
    return step;
}
