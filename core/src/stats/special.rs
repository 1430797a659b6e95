//! The functions of mathematics that the bounds are made of, and the standard library lacks.
//!
//! Each is accurate to about ten digits where it is used, which `tests/stats` holds against SciPy. None is fast: an
//! analysis calls them some ten thousand times.

use std::f64::consts::PI;

/// Lanczos' coefficients for g = 7 with nine terms, as tabulated by P. Godfrey (2001): relative error below 1e-14.
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// Logarithm of the gamma function, for positive arguments.
pub fn ln_gamma(x: f64) -> f64 {
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let series = (1..).zip(&LANCZOS[1..]).fold(LANCZOS[0], |sum, (nth, term)| sum + term / (x + f64::from(nth)));
    0.5 * (2.0 * PI).ln() + (x + 0.5) * base.ln() - base + series.ln()
}

/// Logarithm of the beta function, for positive arguments.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The regularised incomplete beta function: how much of the distribution Beta(`a`, `b`) lies below `x`.
pub fn beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges quickly on this side of the mean; the other side is its mirror image.
    let front = |a: f64, b: f64, x: f64| (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp() / a;
    match x < (a + 1.0) / (a + b + 2.0) {
        true => front(a, b, x) * beta_fraction(a, b, x),
        false => 1.0 - front(b, a, 1.0 - x) * beta_fraction(b, a, 1.0 - x),
    }
}

/// The continued fraction of DLMF 8.17.22, evaluated from the front (Lentz, with Thompson and Barnett's changes).
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    // It takes about the root of the larger argument.
    let steps_max = 1_000 + 4 * a.max(b).sqrt() as u32;
    for step in 1..steps_max {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d);
            c = nonzero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// How much of the standard normal distribution lies below `z`.
pub fn normal_cdf(z: f64) -> f64 {
    // Of Beta(n/2, 1/2) for Student's t with n degrees of freedom this is the limit; the gamma function has it exactly.
    let tail = 0.5 * gamma_upper(0.5, 0.5 * z * z);
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// The point below which a share `p` of the standard normal distribution lies: Acklam's rational approximation (2003),
/// then a step of Halley's method.
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let polynomial = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let start = if p < 0.024_25 {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    } else {
        let q = p - 0.5;
        polynomial(&A, q * q) * q / (polynomial(&B, q * q) * q * q + 1.0)
    };
    let error = (normal_cdf(start) - p) * (2.0 * PI).sqrt() * (0.5 * start * start).exp();
    start - error / (1.0 + 0.5 * start * error)
}

/// The point below which a share `p` of the chi-squared distribution with `df` degrees of freedom lies, to two thousandths
/// from ten degrees on: Wilson and Hilferty (1931).
pub fn chi_squared_quantile(p: f64, df: f64) -> f64 {
    let spread = 2.0 / (9.0 * df);
    df * (1.0 - spread + normal_quantile(p) * spread.sqrt()).powi(3)
}

/// The regularised upper incomplete gamma function.
fn gamma_upper(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-16 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - front * sum;
    }
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for step in 1..10_000 {
        let n = f64::from(step);
        let term = -n * (n - a);
        b += 2.0;
        d = 1.0 / (term * d + b);
        c = b + term / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}
