//! Functions that a provider offers to configurations, as `provider::NAME::function(…)`.

use super::proto::tfplugin6 as wire;
use super::{Type, Value};

/// A parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Type,
    pub description: &'static str,
}

/// What a function takes and returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// One line.
    pub summary: &'static str,
    pub description: &'static str,
    pub parameters: Vec<Parameter>,
    pub returns: Type,
}

impl Signature {
    pub(super) fn to_wire(&self) -> wire::Function {
        let kind = |kind: &Type| kind.to_json().to_string().into_bytes();
        let parameters = self.parameters.iter().map(|parameter| wire::function::Parameter {
            name: parameter.name.to_owned(),
            r#type: kind(&parameter.kind),
            allow_null_value: false,
            // Otherwise the whole result would be unknown, and a map of known keys could not be given to for_each.
            allow_unknown_values: true,
            description: parameter.description.to_owned(),
            description_kind: wire::StringKind::Markdown.into(),
        });
        wire::Function {
            parameters: parameters.collect(),
            r#return: Some(wire::function::Return { r#type: kind(&self.returns) }),
            summary: self.summary.to_owned(),
            description: self.description.to_owned(),
            description_kind: wire::StringKind::Markdown.into(),
        }
    }
}

/// Why a call makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// The argument to blame, from 0.
    pub argument: Option<usize>,
    pub text: String,
}

impl FunctionError {
    pub(super) fn to_wire(&self) -> wire::FunctionError {
        let function_argument = self.argument.and_then(|index| i64::try_from(index).ok());
        wire::FunctionError { text: self.text.clone(), function_argument }
    }
}

/// A function: its result depends on the arguments alone, so it needs no configured provider.
pub trait Function: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    fn signature(&self) -> Signature;

    /// `arguments` are as many as the parameters, in their order. None is null, and anything in them may be unknown.
    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError>;
}
