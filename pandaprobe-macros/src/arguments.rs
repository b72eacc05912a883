//! What is in the parentheses of an attribute.

use proc_macro2::Span;
use syn::{
    Error, Expr, ExprArray, Ident, Lit, LitBool, LitStr, Path, Result, Token, braced,
    ext::IdentExt,
    parenthesized,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

/// Which attribute it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    Trace,
    Span,
}

impl Target {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Trace => &[
                "name",
                "session_id",
                "user_id",
                "tags",
                "metadata",
                "client",
                "skip",
                "capture_output",
                "crate",
            ],
            Self::Span => &["name", "kind", "model", "metadata", "skip", "capture_output", "crate"],
        }
    }
}

/// A value of `metadata`.
pub(crate) struct Entry {
    pub(crate) key: LitStr,
    pub(crate) value: Expr,
}

/// All keys of both attributes.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) name: Option<Expr>,
    pub(crate) session_id: Option<Expr>,
    pub(crate) user_id: Option<Expr>,
    pub(crate) tags: Option<ExprArray>,
    pub(crate) metadata: Vec<Entry>,
    pub(crate) client: Option<Expr>,
    pub(crate) kind: Option<Expr>,
    pub(crate) model: Option<Expr>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) capture_output: Option<LitBool>,
    pub(crate) krate: Option<Path>,
}

const KINDS: [&str; 7] = ["AGENT", "TOOL", "LLM", "RETRIEVER", "CHAIN", "EMBEDDING", "OTHER"];

impl Arguments {
    pub(crate) fn parse(target: Target, tokens: proc_macro2::TokenStream) -> Result<Self> {
        (|input: ParseStream<'_>| Self::read(target, input)).parse2(tokens)
    }

    fn read(target: Target, input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            if input.peek(syn::Lit) {
                return Err(input.error("write `name = …`: every value has a key"));
            }
            let key = input.call(Ident::parse_any)?;
            let name = key.to_string();
            check(target, &key, &name)?;
            if seen.contains(&name) {
                return Err(Error::new(
                    key.span(),
                    format!("`{name}` is there twice; leave one of them out"),
                ));
            }
            arguments.value(&name, &key, input)?;
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }

    fn value(&mut self, name: &str, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        if name == "skip" {
            let names;
            if !input.peek(syn::token::Paren) {
                return Err(Error::new(key.span(), "write `skip(argument, …)`"));
            }
            parenthesized!(names in input);
            let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&names, Ident::parse_any)?;
            if let Some(this) = names.iter().find(|name| *name == "self") {
                return Err(Error::new(this.span(), "`self` is never captured; leave it out"));
            }
            self.skip = names.into_iter().collect();
            return Ok(());
        }
        if !input.peek(Token![=]) {
            return Err(Error::new(key.span(), format!("write `{name} = …`")));
        }
        input.parse::<Token![=]>()?;
        match name {
            "name" => self.name = Some(text(input)?),
            "session_id" => self.session_id = Some(input.parse()?),
            "user_id" => self.user_id = Some(input.parse()?),
            "tags" => self.tags = Some(tags(input)?),
            "metadata" => self.metadata = metadata(input)?,
            "client" => self.client = Some(input.parse()?),
            "kind" => self.kind = Some(kind(input)?),
            "model" => self.model = Some(text(input)?),
            "capture_output" => self.capture_output = Some(switch(input)?),
            _ => self.krate = Some(input.call(Path::parse_mod_style)?),
        }
        Ok(())
    }
}

fn check(target: Target, key: &Ident, name: &str) -> Result<()> {
    if target.keys().contains(&name) {
        return Ok(());
    }
    let message = match (target, name) {
        (Target::Span, "session_id" | "user_id" | "tags" | "client") => {
            format!("`{name}` belongs to the trace: write it on `#[trace]`, or use a scope")
        }
        (Target::Trace, "kind" | "model") => format!("`{name}` belongs to a span: write it on `#[span]`"),
        _ => format!("there is no `{name}`; there are `{}`", target.keys().join("`, `")),
    };
    Err(Error::new(key.span(), message))
}

/// A text, or an expression for one. A number or `bool` is a slip.
fn text(input: ParseStream<'_>) -> Result<Expr> {
    let value: Expr = input.parse()?;
    match &value {
        Expr::Lit(literal) if !matches!(literal.lit, Lit::Str(_)) => {
            Err(Error::new(value.span(), "this is a text: write it in quotes"))
        }
        _ => Ok(value),
    }
}

fn tags(input: ParseStream<'_>) -> Result<ExprArray> {
    let value: Expr = input.parse()?;
    match value {
        Expr::Array(tags) => Ok(tags),
        other => Err(Error::new(other.span(), "write `tags = [\"one\", \"two\"]`")),
    }
}

fn metadata(input: ParseStream<'_>) -> Result<Vec<Entry>> {
    if !input.peek(syn::token::Brace) {
        return Err(input.error("write `metadata = {\"key\": value, …}`"));
    }
    let entries;
    braced!(entries in input);
    let mut read: Vec<Entry> = Vec::new();
    for entry in Punctuated::<Entry, Token![,]>::parse_terminated(&entries)? {
        let key = entry.key.value();
        if read.iter().any(|before| before.key.value() == key) {
            let message = format!("`{key}` is there twice; leave one of them out");
            return Err(Error::new(entry.key.span(), message));
        }
        read.push(entry);
    }
    Ok(read)
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !input.peek(LitStr) {
            return Err(input.error("write `\"key\": value`: keys are in quotes"));
        }
        let key = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

fn kind(input: ParseStream<'_>) -> Result<Expr> {
    let value: Expr = input.parse()?;
    let Expr::Lit(literal) = &value else {
        return Ok(value);
    };
    let is_kind = |text: &LitStr| KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(&text.value()));
    match &literal.lit {
        Lit::Str(text) if is_kind(text) => Ok(value),
        _ => {
            Err(Error::new(value.span(), format!("no kind of span; there are \"{}\"", KINDS.join("\", \""))))
        }
    }
}

fn switch(input: ParseStream<'_>) -> Result<LitBool> {
    input.parse().map_err(|error: Error| Error::new(error.span(), "write `true` or `false`"))
}

/// The variant of `SpanKind` that a text names.
pub(crate) fn variant(text: &LitStr) -> Ident {
    let name = text.value().to_ascii_lowercase();
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let variant: String = first.into_iter().chain(letters).collect();
    Ident::new(&variant, Span::call_site())
}
