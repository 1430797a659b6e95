//! How much less than an independent one a request is worth.
//!
//! Two things make requests alike: who asks (units, within an hour), and when, for real vendors
//! have slow episodes. The first is known beforehand, so clusters are always accounted for. The second has to be told
//! from the data: an arm's requests in their order are cut into batches, of several lengths, and if the batches' sums vary
//! more than sums of independent clusters would, the batches become the units (batch means, as in the analysis of
//! simulations: Alexopoulos and Seila 1998).
//!
//! Both are variances of sums, added up as for two-way clustering (Cameron, Gelbach and Miller 2011): clusters plus
//! batches less what is both. Divided by the variance of independent requests they are the design effect: 4 means that
//! four hundred requests tell as much as a hundred.

use super::special::chi_squared_quantile;

/// Fewest batches: the longest batch is a sixteenth of an arm's requests.
const BATCHES_MIN: usize = 16;
/// Shortest batch, in requests. What hangs together for less does so in longer ones too.
const BATCH_LEN_MIN: usize = 16;
/// Chance that independent requests look dependent, shared by all lengths of batches.
const FALSE_DEPENDENCE: f64 = 0.005;

/// What the sums of an arm's residuals say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// How many requests tell as much as one independent one; at least 1.
    pub factor: f64,
    /// How many batches became the units; none if requests (or their clusters) are independent as far as can be told.
    pub batches: Option<usize>,
}

impl Effect {
    /// Of requests that are independent.
    pub const NONE: Self = Self { factor: 1.0, batches: None };
}

/// What is taken to be alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assume {
    /// Requests of a unit in an hour; and requests near in time, if the data say so.
    Dependence,
    /// Requests of a unit in an hour.
    Clusters,
    /// Nothing.
    Independence,
}

/// The design effect of `residuals`, which are values less their mean in the order of the requests. `clusters` names
/// each request's cluster by a number from 0 on, below their count; without, each is its own.
pub fn design_effect(residuals: &[f64], clusters: Option<&[u32]>, assume: Assume) -> Effect {
    let alone: f64 = residuals.iter().map(|e| e * e).sum();
    if assume == Assume::Independence || alone <= 0.0 {
        return Effect::NONE;
    }
    let mut sums = Sums::new(residuals, clusters);
    let clustered = sums.of(residuals.len()).squares / alone;
    let mut effect = Effect { factor: clustered.max(1.0), batches: None };
    if assume == Assume::Clusters {
        return effect;
    }
    let lengths = std::iter::successors(Some(BATCHES_MIN), |batches| Some(2 * batches));
    let lengths = lengths.take_while(|batches| residuals.len() / batches >= BATCH_LEN_MIN);
    let share = FALSE_DEPENDENCE / lengths.clone().count().max(1) as f64;
    for batches in lengths {
        let parts = sums.of(residuals.len().div_ceil(batches));
        let free = batches as f64 - 1.0;
        // Sums of few or of rare values vary more by themselves than normal ones, by their kurtosis.
        let spread = 2.0 / free + (parts.fourths / parts.squares.powi(2) - 3.0 / parts.count).max(-1.0 / free);
        let free_worth = 2.0 / spread;
        let batch_squares: f64 =
            residuals.chunks(residuals.len().div_ceil(batches)).map(|batch| batch.iter().sum::<f64>().powi(2)).sum();
        let scaled = batch_squares * batches as f64 / free;
        if scaled / parts.squares > chi_squared_quantile(1.0 - share, free_worth) / free_worth {
            // An estimate from few batches is as often too low as too high; too low is what does harm.
            let caution = 1.0 + (2.0 / free).sqrt();
            let factor = caution * (clustered + (scaled - parts.squares) / alone);
            if factor > effect.factor {
                effect = Effect { factor, batches: Some(batches) };
            }
        }
    }
    effect
}

/// Sums of residuals by cluster.
struct Sums<'a> {
    residuals: &'a [f64],
    clusters: Option<&'a [u32]>,
    /// By cluster, while a stretch is being summed.
    sums: Vec<f64>,
    /// The clusters of the stretch.
    met: Vec<u32>,
}

/// Of the sums within stretches: their squares and fourth powers, added up.
struct Powers {
    squares: f64,
    fourths: f64,
    count: f64,
}

impl<'a> Sums<'a> {
    fn new(residuals: &'a [f64], clusters: Option<&'a [u32]>) -> Self {
        let count = clusters.map_or(0, |clusters| clusters.iter().max().map_or(0, |last| *last as usize + 1));
        Self { residuals, clusters, sums: vec![0.0; count], met: Vec::new() }
    }

    /// Sums each cluster within each stretch of `len` requests.
    fn of(&mut self, len: usize) -> Powers {
        let mut powers = Powers { squares: 0.0, fourths: 0.0, count: 0.0 };
        let Some(clusters) = self.clusters else {
            self.residuals.iter().for_each(|e| powers.add(*e));
            return powers;
        };
        for (residuals, clusters) in self.residuals.chunks(len).zip(clusters.chunks(len)) {
            for (residual, &cluster) in residuals.iter().zip(clusters) {
                let sum = &mut self.sums[cluster as usize];
                if *sum == 0.0 {
                    self.met.push(cluster);
                }
                *sum += residual;
            }
            for cluster in self.met.drain(..) {
                // A cluster whose sum was zero in between is met twice, and counts once.
                match std::mem::take(&mut self.sums[cluster as usize]) {
                    0.0 => {}
                    sum => powers.add(sum),
                }
            }
        }
        powers
    }
}

impl Powers {
    fn add(&mut self, sum: f64) {
        self.squares += sum.powi(2);
        self.fourths += sum.powi(4);
        self.count += 1.0;
    }
}
