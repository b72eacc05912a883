//! What kind of function an attribute stands on.

use syn::{
    AttrStyle, Attribute, Block, Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PathArguments,
    PathSegment, Result, ReturnType, Signature, Token, Type, TypeParamBound, TypePath, Visibility,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    spanned::Spanned,
    visit_mut::{self, VisitMut},
};

/// A function or method with a body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Block,
}

/// What a call of it gives.
pub(crate) struct Shape {
    pub(crate) call: Call,
    /// What comes out at the end is a stream.
    pub(crate) stream: Option<Stream>,
}

/// When its value is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    /// At once.
    Now,
    /// It is asynchronous.
    Async,
    /// It returns a future.
    Future,
    /// It returns a boxed future.
    BoxedFuture,
}

/// A stream that a function gives.
pub(crate) struct Stream {
    /// Its type, if it is a box.
    pub(crate) boxed: Option<Type>,
    /// It is the `Ok` of a result.
    pub(crate) is_fallible: bool,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let wrong = "goes on functions and methods that have a body";
        let fork = input.fork();
        if let Ok(function) = fork.parse::<ItemFn>() {
            let _: proc_macro2::TokenStream = input.parse()?;
            let mut attributes = function.attrs;
            // Those inside of the body come out before the function.
            attributes.iter_mut().for_each(|attribute| attribute.style = AttrStyle::Outer);
            return Ok(Self {
                attributes,
                visibility: function.vis,
                signature: function.sig,
                body: *function.block,
            });
        }
        let item: syn::Result<syn::TraitItem> = input.fork().parse();
        match item {
            Ok(syn::TraitItem::Fn(method)) if method.default.is_none() => Err(Error::new(
                method.sig.ident.span(),
                format!("this attribute {wrong}: write it on the implementation"),
            )),
            _ => Err(match input.parse::<syn::Item>() {
                Ok(item) => Error::new(first(&item), format!("this attribute {wrong}")),
                Err(error) => error,
            }),
        }
    }
}

fn first(item: &syn::Item) -> proc_macro2::Span {
    match item {
        syn::Item::Struct(item) => item.ident.span(),
        syn::Item::Enum(item) => item.ident.span(),
        syn::Item::Impl(item) => item.impl_token.span(),
        syn::Item::Mod(item) => item.ident.span(),
        other => other.span(),
    }
}

impl Function {
    /// Functions of which no call can be recorded.
    pub(crate) fn check(&self) -> Result<()> {
        let signature = &self.signature;
        if let Some(token) = &signature.constness {
            return Err(Error::new(token.span(), "a `const fn` cannot be recorded; leave the attribute out"));
        }
        if let Some(token) = &signature.abi {
            return Err(Error::new(
                token.span(),
                "an `extern` function cannot be recorded: wrap it in one that is not",
            ));
        }
        if let Some(token) = &signature.unsafety {
            return Err(Error::new(
                token.span(),
                "an `unsafe fn` cannot be recorded: wrap it in one that is safe",
            ));
        }
        Ok(())
    }

    pub(crate) fn shape(&self) -> Shape {
        let returned = match &self.signature.output {
            ReturnType::Type(_, returned) => Some(&**returned),
            ReturnType::Default => None,
        };
        if self.signature.asyncness.is_some() {
            return Shape { call: Call::Async, stream: returned.and_then(stream_of) };
        }
        match returned.map_or(Returned::Other, read) {
            Returned::Future { is_boxed, output } => Shape {
                call: if is_boxed { Call::BoxedFuture } else { Call::Future },
                stream: output.and_then(stream_of),
            },
            _ => Shape { call: Call::Now, stream: returned.and_then(stream_of) },
        }
    }

    /// Whether it never returns.
    pub(crate) fn is_endless(&self) -> bool {
        matches!(&self.signature.output, ReturnType::Type(_, output) if matches!(**output, Type::Never(_)))
    }

    /// The names that the arguments have in the body, `self` aside.
    pub(crate) fn names(&self) -> Vec<Ident> {
        let mut names = Vec::new();
        for argument in &self.signature.inputs {
            if let FnArg::Typed(argument) = argument {
                bindings(&argument.pat, &mut names);
            }
        }
        // What a macro made up is of no interest.
        names.retain(|name| !name.to_string().starts_with("__"));
        names
    }

    /// The type that the body gives, with `_` where it cannot be written in a body.
    pub(crate) fn given(&self) -> Type {
        let mut given = match &self.signature.output {
            ReturnType::Default => return syn::parse_quote!(()),
            ReturnType::Type(_, _) if self.is_endless() => {
                return syn::parse_quote!(::core::convert::Infallible);
            }
            ReturnType::Type(_, output) => (**output).clone(),
        };
        Unnameable.visit_type_mut(&mut given);
        given
    }
}

struct Unnameable;

impl VisitMut for Unnameable {
    fn visit_type_mut(&mut self, given: &mut Type) {
        match given {
            Type::ImplTrait(_) => *given = syn::parse_quote!(_),
            _ => visit_mut::visit_type_mut(self, given),
        }
    }
}

fn bindings(pattern: &Pat, names: &mut Vec<Ident>) {
    match pattern {
        Pat::Ident(binding) => names.push(binding.ident.clone()),
        Pat::Reference(inner) => bindings(&inner.pat, names),
        Pat::Paren(inner) => bindings(&inner.pat, names),
        Pat::Type(inner) => bindings(&inner.pat, names),
        Pat::Tuple(inner) => inner.elems.iter().for_each(|pattern| bindings(pattern, names)),
        Pat::TupleStruct(inner) => inner.elems.iter().for_each(|pattern| bindings(pattern, names)),
        Pat::Slice(inner) => inner.elems.iter().for_each(|pattern| bindings(pattern, names)),
        Pat::Struct(inner) => inner.fields.iter().for_each(|field| bindings(&field.pat, names)),
        _ => {}
    }
}

/// What a type is, as far as its name tells: an alias tells nothing.
enum Returned<'a> {
    Future { is_boxed: bool, output: Option<&'a Type> },
    Stream { is_boxed: bool },
    Other,
}

fn read(given: &Type) -> Returned<'_> {
    match given {
        Type::ImplTrait(given) => dynamic(&given.bounds, false),
        Type::Paren(inner) => read(&inner.elem),
        Type::Group(inner) => read(&inner.elem),
        Type::Path(path) => named(path),
        _ => Returned::Other,
    }
}

fn named(path: &TypePath) -> Returned<'_> {
    let Some(last) = path.path.segments.last() else {
        return Returned::Other;
    };
    match last.ident.to_string().as_str() {
        "BoxFuture" | "LocalBoxFuture" => Returned::Future { is_boxed: true, output: types_of(last).next() },
        "BoxStream" | "LocalBoxStream" => Returned::Stream { is_boxed: true },
        "Pin" => pinned(last).map_or(Returned::Other, |bounds| dynamic(bounds, true)),
        _ => Returned::Other,
    }
}

/// What is in a `Pin<Box<dyn …>>`.
fn pinned(pin: &PathSegment) -> Option<&Punctuated<TypeParamBound, Token![+]>> {
    let Type::Path(boxed) = types_of(pin).next()? else {
        return None;
    };
    let last = boxed.path.segments.last().filter(|last| last.ident == "Box")?;
    match types_of(last).next()? {
        Type::TraitObject(object) => Some(&object.bounds),
        _ => None,
    }
}

/// What `impl` or `dyn` of these bounds is.
fn dynamic(bounds: &Punctuated<TypeParamBound, Token![+]>, is_boxed: bool) -> Returned<'_> {
    let traits = bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    });
    for last in traits {
        if last.ident == "Future" {
            return Returned::Future { is_boxed, output: output_of(last) };
        }
        if last.ident == "Stream" {
            return Returned::Stream { is_boxed };
        }
    }
    Returned::Other
}

fn stream_of(given: &Type) -> Option<Stream> {
    let of = |given: &Type, is_fallible| match read(given) {
        Returned::Stream { is_boxed } => Some(Stream { boxed: is_boxed.then(|| given.clone()), is_fallible }),
        _ => None,
    };
    of(given, false).or_else(|| match given {
        Type::Paren(inner) => stream_of(&inner.elem),
        Type::Group(inner) => stream_of(&inner.elem),
        Type::Path(path) => {
            let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
            of(types_of(last).next()?, true)
        }
        _ => None,
    })
}

/// The types among the generic arguments.
fn types_of(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    arguments_of(segment).filter_map(|argument| match argument {
        GenericArgument::Type(given) => Some(given),
        _ => None,
    })
}

/// The `Output` of a future.
fn output_of(future: &PathSegment) -> Option<&Type> {
    arguments_of(future).find_map(|argument| match argument {
        GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
        _ => None,
    })
}

fn arguments_of(segment: &PathSegment) -> impl Iterator<Item = &GenericArgument> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten()
}
