"""Independent computations of what tests/stats/known.rs pins: run once, by hand.

    pip install numpy scipy statsmodels && python3 tests/stats/reference.py

Nothing here is taken from the Rust code: densities are integrated numerically, roots found by Brent's method, variances
computed by statsmodels. The values printed are pasted into known.rs under the names printed.
"""

import warnings

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import integrate, optimize, special, stats
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_cluster_2groups

warnings.simplefilter("ignore")
print(f"scipy {scipy.__version__}, statsmodels {statsmodels.__version__}, numpy {np.__version__}")


def show(name, *values):
    print(name, ", ".join(f"{value:.12g}" for value in values))


# Special functions.
show("ln_gamma", *(special.gammaln(x) for x in (0.1, 0.5, 3.7, 50.5, 12345.6, 1e7)))
show("beta_cdf", *(special.betainc(a, b, x) for a, b, x in
                   ((0.5, 0.5, 0.3), (50, 50, 0.45), (3000, 3100, 0.5), (99, 1, 0.97), (9900.5, 100.5, 0.99))))
show("normal_cdf", *(stats.norm.cdf(z) for z in (-5, -1.5, 0.3, 4)))
show("normal_quantile", *(stats.norm.ppf(p) for p in (1e-9, 0.0125, 0.5, 0.975)))
show("chi_squared_quantile", *(stats.chi2.ppf(p, df) for p, df in ((0.995, 15), (0.995, 127.4))))


# A sequential quantile bound: the beta density truncated at p, mixed numerically with the likelihood ratio.
def mixed(count, of, p, low, high):
    a, b = 100 * p, 100 * (1 - p)

    def weighted(theta):
        log = stats.beta.logpdf(theta, a, b) + count * np.log(theta / p) + (of - count) * np.log((1 - theta) / (1 - p))
        return np.exp(log)

    peak = (a + count) / (a + b + of)
    spread = 12 * np.sqrt(peak * (1 - peak) / (a + b + of))
    inside = [point for point in (peak - spread, peak, peak + spread) if low < point < high]
    return integrate.quad(weighted, low, high, points=inside, limit=400, epsabs=0, epsrel=1e-11)[0]


for less, at_most, of, p in ((440, 440, 1000, 0.5), (540, 571, 1000, 0.5), (970, 973, 1000, 0.99), (300, 640, 1000, 0.5)):
    evidence = mixed(at_most, of, p, 1e-12, p) + mixed(less, of, p, p, 1 - 1e-12)
    show(f"against_quantile {less} {at_most} {of} {p}", np.log(evidence))

# A rate: Jeffreys' prior, integrated numerically after theta = sin^2.
for hits, of, p in ((3, 1000, 0.001), (40, 200, 0.3), (0, 500, 0.01)):
    def weighted(angle):
        theta = np.sin(angle) ** 2
        log = hits * np.log(theta / p) + (of - hits) * np.log((1 - theta) / (1 - p))
        return np.exp(log) * 2 / np.pi
    peak = np.arcsin(np.sqrt((hits + 0.5) / (of + 1)))
    value = integrate.quad(weighted, 1e-12, np.pi / 2 - 1e-12, points=[peak], limit=800, epsrel=1e-11)[0]
    show(f"against_rate {hits} {of} {p}", np.log(value))

# A split: scipy's Dirichlet-multinomial against the multinomial.
counts, shares = np.array([10400, 9600]), np.array([0.5, 0.5])
show("against_split 2", stats.dirichlet_multinomial.logpmf(counts, 500 * shares, counts.sum())
     - stats.multinomial.logpmf(counts, counts.sum(), shares))
counts, shares = np.array([150, 200, 650]), np.array([0.1, 0.2, 0.7])
show("against_split 3", stats.dirichlet_multinomial.logpmf(counts, 500 * shares, counts.sum())
     - stats.multinomial.logpmf(counts, counts.sum(), shares))

# The normal mixture: a normal prior of variance 1/500 on the mean, integrated numerically.
for z, n in ((3.2, 4000), (0.5, 900)):
    def weighted(mu):
        return np.exp(mu * z * np.sqrt(n) - 0.5 * n * mu * mu) * stats.norm.pdf(mu, scale=np.sqrt(1 / 500))
    show(f"against_normal {z} {n}", np.log(integrate.quad(weighted, -1, 1, points=[0, z / np.sqrt(n)], limit=400)[0]))

# A fixed dataset: a linear congruential generator that any language can repeat.
state = 12345
def draw():
    global state
    state = (1103515245 * state + 12345) % 2**31
    return (state + 0.5) / 2**31

a = np.array([np.exp(5 + 0.8 * stats.norm.ppf(draw())) for _ in range(600)])
b = np.array([np.exp(5.1 + 0.8 * stats.norm.ppf(draw())) for _ in range(500)])
show("data", a.sum(), b.sum())

# Fixed-horizon rates: profile likelihood by Brent's method, and for scale the score interval of statsmodels.
def profile(x1, n1, x2, n2, delta):
    def log(x, n, p):
        return special.xlogy(x, p) + special.xlogy(n - x, 1 - p)
    low, high = max(0, -delta) + 1e-12, min(1, 1 - delta) - 1e-12
    best = optimize.minimize_scalar(lambda p: -log(x1, n1, p + delta) - log(x2, n2, p), bounds=(low, high),
                                    method="bounded", options={"xatol": 1e-14})
    return log(x1, n1, x1 / n1) + log(x2, n2, x2 / n2) + best.fun

limit = stats.chi2.ppf(0.95, 1) / 2
x1, n1, x2, n2 = 45, 1000, 20, 900
low = optimize.brentq(lambda d: profile(x1, n1, x2, n2, d) - limit, -0.2, x1 / n1 - x2 / n2)
high = optimize.brentq(lambda d: profile(x1, n1, x2, n2, d) - limit, x1 / n1 - x2 / n2, 0.2)
show("fixed rate difference", low, high)
show("  for scale, score interval", *confint_proportions_2indep(x1, n1, x2, n2, method="score", compare="diff"))

# Fixed-horizon ratio of means: Fieller, by roots of the t-free statistic.
za = stats.norm.ppf(0.975)
def fieller(r):
    return abs(a.mean() - r * b.mean()) - za * np.sqrt(a.var(ddof=1) / len(a) + r * r * b.var(ddof=1) / len(b))
centre = a.mean() / b.mean()
show("fixed ratio of means", optimize.brentq(fieller, 0.3, centre), optimize.brentq(fieller, centre, 3))

# Fixed-horizon ratio of medians: by brute force over all pairs of order statistics.
def of_arm(x):
    x = np.sort(x)
    n = len(x)
    less, at_most = np.arange(n), np.arange(1, n + 1)
    off = n / 2 - np.clip(n / 2, less, at_most)
    return x, 0.5 * off**2 / (n / 4)
xa, ea = of_arm(a)
xb, eb = of_arm(b)
possible = ea[:, None] + eb[None, :] < limit
ratios = xa[:, None] / xb[None, :]
show("fixed ratio of medians", ratios[possible].min(), ratios[possible].max())

# The same, sequential, at 2.5 %: the mixture by its closed form in scipy.
def mixture(less, at_most, n, p=0.5):
    pa, pb = 100 * p, 100 * (1 - p)
    def part(k):
        return special.betaln(pa + k, pb + n - k) - special.betaln(pa, pb) - k * np.log(p) - (n - k) * np.log(1 - p), \
            special.betainc(pa + k, pb + n - k, p)
    low, below = part(at_most)
    high, above = part(less)
    return np.logaddexp(low + np.log(below), high + np.log1p(-above))
ea = mixture(np.arange(len(xa)), np.arange(1, len(xa) + 1), len(xa))
eb = mixture(np.arange(len(xb)), np.arange(1, len(xb) + 1), len(xb))
# Four fifths of the chance for both arms together, a tenth for each by itself.
possible = (ea[:, None] + eb[None, :] < -np.log(0.8 * 0.025)) & (ea[:, None] < -np.log(0.1 * 0.025)) \
    & (eb[None, :] < -np.log(0.1 * 0.025))
show("sequential ratio of medians", ratios[possible].min(), ratios[possible].max())

# Empirical-Bernstein: the published recursion, written with numpy's cumulative sums.
def bernstein(x, alpha):
    t = np.arange(1, len(x) + 1)
    mean_hat = (0.5 + np.cumsum(x)) / (t + 1)
    var_hat = (0.25 + np.cumsum((x - mean_hat) ** 2)) / (t + 1)
    mean_before = np.concatenate(([0.5], mean_hat[:-1]))
    var_before = np.concatenate(([0.25], var_hat[:-1]))
    lam = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (var_before * t * np.log(1 + t))), 0.5)
    psi = (-np.log(1 - lam) - lam) / 4
    v = 4 * (x - mean_before) ** 2
    centre = np.sum(lam * x) / np.sum(lam)
    reach = (np.log(2 / alpha) + np.sum(v * psi)) / np.sum(lam)
    return centre - reach, centre + reach
show("empirical-Bernstein", *(10_000 * np.array(bernstein(np.minimum(a, 9_999) / 10_000, 0.05))))

# Variances of clusters: statsmodels' sandwich, one way and two ways, without small-sample factors.
units = np.array([int(draw() * 60) for _ in range(600)])
batches = np.arange(600) // 38
fit = sm.OLS(a, np.ones(600)).fit()
one = cov_cluster(fit, units, use_correction=False)[0, 0]
both = cov_cluster_2groups(fit, units, batches, use_correction=False)[0][0, 0]
alone = a.var() / 600
show("design effect, units", one / alone)
show("design effect, units and batches", both / alone)

# Units and batches together: 500 requests of 40 units in 16 batches of 32, some of which are slow.
units = np.array([int(draw() * 40) for _ in range(500)])
batches = np.arange(500) // 32
slow = np.where(batches % 5 == 0, 0.9, 0.0)
c = np.array([np.exp(5 + 0.5 * stats.norm.ppf(draw())) for _ in range(500)]) * np.exp(slow)
fit = sm.OLS(c, np.ones(500)).fit()
alone = c.var() / 500
of_units, of_batches, of_both = (
    cov_cluster(fit, groups, use_correction=False)[0, 0] / alone for groups in (units, batches, units * 16 + batches)
)
show("design effect: units, batches, both", of_units, of_batches, of_both)
show("  together", (1 + np.sqrt(2 / 15)) * (of_units + of_batches * 16 / 15 - of_both))
