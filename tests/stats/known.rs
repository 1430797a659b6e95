//! Each method against a computation that shares no line with it: numbers of tests/stats/reference.py (SciPy 1.17.1,
//! statsmodels 0.15.0, NumPy 2.4.6), which integrates and searches where the code has closed forms.

use kt_core::stats::dependence::{Assume, design_effect};
use kt_core::stats::evidence::{
    Below, Looks, against_chance, against_normal, against_quantile, against_rate, against_split,
};
use kt_core::stats::interval::Interval;
use kt_core::stats::mean::{self, Moments};
use kt_core::stats::plan::{Aim, for_quantile};
use kt_core::stats::quantile::{self, Sorted};
use kt_core::stats::rate::{self, Counted};
use kt_core::stats::special::{beta_cdf, chi_squared_quantile, ln_gamma, normal_cdf, normal_quantile};

#[track_caller]
fn near(found: f64, expected: f64) {
    near_by(found, expected, 1e-9);
}

#[track_caller]
fn near_by(found: f64, expected: f64, share: f64) {
    assert!((found - expected).abs() <= share * expected.abs().max(1e-300), "{found} for {expected}");
}

#[track_caller]
fn bounds(found: Interval, low: f64, high: f64) {
    near_by(found.low, low, 1e-7);
    near_by(found.high, high, 1e-7);
}

/// The congruential generator of reference.py, and what it draws from it.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = (1_103_515_245 * self.0 + 12_345) % (1 << 31);
        (self.0 as f64 + 0.5) / f64::from(1_u32 << 31)
    }

    fn log_normal(&mut self, count: usize, mu: f64, sigma: f64) -> Vec<f64> {
        (0..count).map(|_| (mu + sigma * normal_quantile(self.next())).exp()).collect()
    }

    fn numbers(&mut self, count: usize, below: f64) -> Vec<u32> {
        (0..count).map(|_| (self.next() * below) as u32).collect()
    }
}

fn data() -> (Vec<f64>, Vec<f64>, Draws) {
    let mut draws = Draws(12_345);
    let a = draws.log_normal(600, 5.0, 0.8);
    let b = draws.log_normal(500, 5.1, 0.8);
    (a, b, draws)
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

#[test]
fn special_functions_are_scipys() {
    let x = [0.1, 0.5, 3.7, 50.5, 12_345.6, 1e7];
    let expected =
        [2.252_712_651_73, 0.572_364_942_925, 1.428_072_326_67, 146.519_255_491, 103_959.185_066, 151_180_949.369];
    x.iter().zip(expected).for_each(|(x, expected)| near_by(ln_gamma(*x), expected, 1e-11));

    near(beta_cdf(0.5, 0.5, 0.3), 0.369_010_119_566);
    near(beta_cdf(50.0, 50.0, 0.45), 0.158_652_198_937);
    near(beta_cdf(3_000.0, 3_100.0, 0.5), 0.899_812_682_535);
    near(beta_cdf(99.0, 1.0, 0.97), 0.049_023_204_046_8);
    near(beta_cdf(9_900.5, 100.5, 0.99), 0.506_556_401_062);

    let z = [-5.0, -1.5, 0.3, 4.0];
    let expected = [2.866_515_718_79e-7, 0.066_807_201_268_9, 0.617_911_422_189, 0.999_968_328_758];
    z.iter().zip(expected).for_each(|(z, expected)| near(normal_cdf(*z), expected));
    near(normal_quantile(1e-9), -5.997_807_015_01);
    near(normal_quantile(0.0125), -2.241_402_727_6);
    near(normal_quantile(0.975), 1.959_963_984_54);
    assert!(normal_quantile(0.5).abs() < 1e-12);

    near_by(chi_squared_quantile(0.995, 15.0), 32.801_320_645_8, 2e-3);
    near_by(chi_squared_quantile(0.995, 127.4), 172.260_719_683, 1e-3);
}

#[test]
fn sequential_quantile_bounds_are_the_mixture_integrated_by_scipy() {
    for (less, at_most, p, expected) in [
        (440.0, 440.0, 0.5, 5.363_268_896),
        (540.0, 571.0, 0.5, 1.710_014_753_5),
        (970.0, 973.0, 0.99, 7.557_716_332_68),
        (300.0, 640.0, 0.5, -3.733_774_783_41),
    ] {
        near(against_quantile(Below { less, at_most, of: 1_000.0 }, p, Looks::Any), expected);
    }
}

#[test]
fn rates_are_the_mixture_integrated_by_scipy() {
    near(against_rate(3.0, 1_000.0, 0.001, Looks::Any), -2.395_755_709_02);
    near(against_rate(40.0, 200.0, 0.3, Looks::Any), 2.269_749_748_59);
    near(against_rate(0.0, 500.0, 0.01, Looks::Any), 1.345_248_934_63);
}

#[test]
fn splits_are_scipys_dirichlet_multinomial() {
    near(against_split(&[10_400.0, 9_600.0], &[0.5, 0.5]), 13.757_208_756);
    near(against_chance(10_400.0, 20_000.0, 0.5), 13.757_208_756);
    near(against_split(&[150.0, 200.0, 650.0], &[0.1, 0.2, 0.7]), 7.526_342_896_35);
}

#[test]
fn sums_are_the_normal_mixture_integrated_by_scipy() {
    near(against_normal(3.2, 4_000.0, Looks::Any), 3.452_498_822_44);
    near(against_normal(0.5, 900.0, Looks::Any), -0.434_452_565_733);
}

#[test]
fn the_data_are_those_of_the_script() {
    let (a, b, _) = data();
    near(a.iter().sum(), 118_615.356_743);
    near(b.iter().sum(), 108_379.942_246);
}

#[test]
fn the_ratio_of_medians_is_that_of_all_pairs_of_order_statistics() {
    let (a, b, _) = data();
    let (a, b) = (Sorted::new(a, 1.0), Sorted::new(b, 1.0));
    bounds(quantile::ratio(&a, &b, 0.5, 0.05, Looks::One), 0.769_325_110_276, 1.035_237_178_49);
    bounds(quantile::ratio(&a, &b, 0.5, 0.025, Looks::Any), 0.703_136_278_878, 1.190_733_517_66);
}

#[test]
fn a_difference_of_rates_is_the_profile_likelihood_by_brent() {
    let (arm, baseline) = (Counted::new(45, 1_000, 1.0), Counted::new(20, 900, 1.0));
    // statsmodels' score interval, another method, has 0.00668 to 0.03951.
    bounds(rate::difference(arm, baseline, 0.05, Looks::One), 0.006_765_599_778_44, 0.039_268_850_717_5);
}

#[test]
fn a_ratio_of_means_is_fiellers_by_brent() {
    let (a, b, _) = data();
    // A report would want more of values that are spread so far.
    let [a, b] = [a, b].map(|values| Moments { peers: f64::INFINITY, ..Moments::of(&values, 1.0) });
    bounds(mean::ratio(&a, &b, 0.05, Looks::One), 0.819_834_386_316, 1.014_954_124_24);
}

#[test]
fn the_empirical_bernstein_bounds_are_the_published_recursion_in_numpy() {
    let (a, ..) = data();
    let found = mean::bounded(a.iter().map(|value| value.min(9_999.0)), 10_000.0, 0.05).expect("within bounds");
    bounds(found, 70.977_324_684, 324.407_197_792);
    assert_eq!(mean::bounded([3.0, 11.0].into_iter(), 10.0, 0.05), None, "a value beyond the bound");
}

#[test]
fn clusters_are_the_sandwich_of_statsmodels() {
    let (a, _, mut draws) = data();
    let units = draws.numbers(600, 60.0);
    let effect = design_effect(&centred(&a), Some(&units), Assume::Clusters);
    near(effect.factor, 1.752_518_299_91);
    assert_eq!(effect.batches, None);
}

#[test]
fn clusters_and_batches_are_the_two_way_sandwich_of_statsmodels() {
    let (_, _, mut draws) = data();
    draws.numbers(600, 60.0);
    let units = draws.numbers(500, 40.0);
    let slow = (0..500).map(|at| if at / 32 % 5 == 0 { 0.9_f64.exp() } else { 1.0 });
    let values: Vec<f64> =
        draws.log_normal(500, 5.0, 0.5).into_iter().zip(slow).map(|(value, slow)| value * slow).collect();
    let effect = design_effect(&centred(&values), Some(&units), Assume::Dependence);
    assert_eq!(effect.batches, Some(16));
    near(effect.factor, 17.033_125_309);
}

#[test]
fn a_fixed_plan_is_the_textbooks() {
    // n = 2 σ² q(1-q) (1.96 + 0.84)² / (φ(z_q) ln ratio)² for log-normal times, σ 0.8: 1,740 for a tenth of the median.
    let quantiles = (1..100_000).map(|at| (0.8 * normal_quantile(f64::from(at) / 1e5)).exp()).collect();
    let aim = Aim { detect: 0.1, alpha: 0.05, power: 0.8, looks: Looks::One };
    let planned = for_quantile(&Sorted::new(quantiles, 1.0), 0.5, 1.0, &aim).expect("it can be planned");
    near_by(planned, 1_740.0, 0.01);
}
