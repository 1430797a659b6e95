//! The paths that reach a model: in which language each is asked, which vendors speak it, and what of its body is the
//! input that policies see.
//!
//! Two of them, chat completions and messages, say the same in two languages and reach every vendor, translated where
//! need be. The others pass to vendors that speak them themselves, with nothing changed but the model's name.

use crate::config::plan::{Plan, Target};
use crate::dialect::{self, Dialect};
use crate::fault::{Fault, Kind, Phase};
use crate::route::Route;

/// A path that reaches a model. All of them are asked by POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// OpenAI's chat completions.
    ChatCompletions,
    /// OpenAI's older completions of a text.
    Completions,
    /// OpenAI's embeddings.
    Embeddings,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Anthropic's count of what a message would cost.
    CountTokens,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 6] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
    ];

    /// The endpoint at this path.
    pub fn at(path: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path().as_bytes() == path)
    }

    /// The path, which is the same here and at vendors that speak it, behind their `base_url`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => dialect::path(Dialect::OpenAi),
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
            Self::Messages => dialect::path(Dialect::Anthropic),
            Self::CountTokens => "/v1/messages/count_tokens",
        }
    }

    /// The language that its clients speak, errors included.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses => Dialect::OpenAi,
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
        }
    }

    /// Whether a vendor of this language has it, or the like of it in its own language.
    pub fn reaches(self, vendor: Dialect) -> bool {
        match self {
            Self::ChatCompletions | Self::Messages => true,
            Self::Completions | Self::Embeddings | Self::Responses | Self::CountTokens => self.dialect() == vendor,
        }
    }

    /// The path at a vendor of this language that it reaches.
    pub const fn path_at(self, vendor: Dialect) -> &'static str {
        match self {
            Self::ChatCompletions | Self::Messages => dialect::path(vendor),
            Self::Completions | Self::Embeddings | Self::Responses | Self::CountTokens => self.path(),
        }
    }

    /// The fields of the body that hold its input: whatever is said to the model, by whomever.
    pub const fn inputs(self) -> &'static [&'static str] {
        match self {
            Self::ChatCompletions => &["messages"],
            Self::Completions => &["prompt", "suffix"],
            Self::Embeddings => &["input"],
            // `prompt` names a stored prompt, and holds the texts that fill its gaps.
            Self::Responses => &["instructions", "input", "prompt"],
            Self::Messages | Self::CountTokens => &["system", "messages"],
        }
    }

    /// Whether its answer may be a stream.
    pub const fn streams(self) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Messages => true,
            Self::Embeddings | Self::CountTokens => false,
        }
    }

    /// Checks that whatever arm a request gets can answer it, so that it isn't the draw that decides: a group whose
    /// targets don't all speak the endpoint never answers it.
    ///
    /// # Errors
    ///
    /// [`Kind::NotExpressible`], naming the first target that doesn't speak it.
    pub fn check(self, plan: &Plan, route: Route) -> Result<(), Fault> {
        let group = &plan.groups[route.group()];
        let arms = match route {
            Route::Group(_) => &group.arms[..],
            Route::Arm { arm, .. } => &group.arms[arm..=arm],
        };
        let mut targets = arms.iter().map(|arm| &plan.targets[arm.target]);
        let mute = targets.find(|target| !self.reaches(target.provider.dialect()));
        mute.map_or(Ok(()), |target| Err(self.unspoken(&group.name, target)))
    }

    fn unspoken(self, group: &str, target: &Target) -> Fault {
        let path = self.path();
        let detail = format!("model {group} has the target {}, which does not speak {path}", target.id);
        Fault::with(Kind::NotExpressible, Phase::Body, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_endpoint() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::at(endpoint.path().as_bytes()), Some(endpoint));
            assert!(!endpoint.inputs().is_empty());
        }
        for path in ["/v1/messages/", "/v1/message", "/v1/models", "/V1/messages", ""] {
            assert_eq!(Endpoint::at(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn conversations_reach_every_vendor_and_the_rest_those_that_speak_it() {
        // Endpoint, its path at OpenAI, its path at Anthropic.
        let cases = [
            (Endpoint::ChatCompletions, Some("/v1/chat/completions"), Some("/v1/messages")),
            (Endpoint::Messages, Some("/v1/chat/completions"), Some("/v1/messages")),
            (Endpoint::Completions, Some("/v1/completions"), None),
            (Endpoint::Embeddings, Some("/v1/embeddings"), None),
            (Endpoint::Responses, Some("/v1/responses"), None),
            (Endpoint::CountTokens, None, Some("/v1/messages/count_tokens")),
        ];
        for (endpoint, openai, anthropic) in cases {
            for (vendor, wanted) in [(Dialect::OpenAi, openai), (Dialect::Anthropic, anthropic)] {
                let path = endpoint.reaches(vendor).then(|| endpoint.path_at(vendor));
                assert_eq!(path, wanted, "{endpoint:?} at {vendor:?}");
            }
        }
    }
}
