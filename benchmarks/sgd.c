/* SGD on one linear layer, all sizes known to the compiler, in the contract's order of sums.

   REAL, K inputs, M outputs and N samples a step are macros. `params` holds w row after row and
   then b. Returns the steps taken: fewer than `steps` where a loss is not finite. */

#include <stdint.h>

int64_t sgd(const int64_t *drawn, int64_t steps, const REAL *x, const REAL *t, REAL *params,
            REAL lr)
{
    const REAL one_over_n = (REAL)(1.0 / N), two_over_n = (REAL)(2.0 / N);
    REAL w[K][M], b[M];
    int64_t step = 0;

    for (int k = 0; k < K; k++)
        for (int m = 0; m < M; m++)
            w[k][m] = params[k * M + m];
    for (int m = 0; m < M; m++)
        b[m] = params[K * M + m];

    for (; step < steps; step++) {
        /* The batch both ways round: y is summed for all samples at once, dw for all weights. */
        REAL rows[N][K], columns[K][N], targets[M][N], d[M][N], squares[N], total;
        REAL dw[K][M], db[M];

        for (int n = 0; n < N; n++) {
            const int64_t sample = drawn[step * N + n];
            for (int k = 0; k < K; k++)
                rows[n][k] = columns[k][n] = x[sample * K + k];
            for (int m = 0; m < M; m++)
                targets[m][n] = t[sample * M + m];
        }
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                REAL y = columns[0][n] * w[0][m];
                for (int k = 1; k < K; k++)
                    y += columns[k][n] * w[k][m];
                d[m][n] = (y + b[m]) - targets[m][n];
            }
        for (int n = 0; n < N; n++) {
            squares[n] = d[0][n] * d[0][n];
            for (int m = 1; m < M; m++)
                squares[n] += d[m][n] * d[m][n];
        }
        total = squares[0];
        for (int n = 1; n < N; n++)
            total += squares[n];
        total *= one_over_n;
        if (!(total - total == 0))
            break;

        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++)
                d[m][n] *= two_over_n;
        for (int k = 0; k < K; k++)
            for (int m = 0; m < M; m++)
                dw[k][m] = rows[0][k] * d[m][0];
        for (int m = 0; m < M; m++)
            db[m] = d[m][0];
        for (int n = 1; n < N; n++) {
            for (int k = 0; k < K; k++)
                for (int m = 0; m < M; m++)
                    dw[k][m] += rows[n][k] * d[m][n];
            for (int m = 0; m < M; m++)
                db[m] += d[m][n];
        }
        for (int k = 0; k < K; k++)
            for (int m = 0; m < M; m++)
                w[k][m] -= lr * dw[k][m];
        for (int m = 0; m < M; m++)
            b[m] -= lr * db[m];
    }

    for (int k = 0; k < K; k++)
        for (int m = 0; m < M; m++)
            params[k * M + m] = w[k][m];
    for (int m = 0; m < M; m++)
        params[K * M + m] = b[m];
    return step;
}
