//! What kind of function an attribute stands on.

use syn::{
    Attribute, Block, Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PathArguments, Result, ReturnType,
    Signature, Type, TypeParamBound, Visibility,
    parse::{Parse, ParseStream},
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A value.
    Plain,
    /// It is asynchronous.
    Async,
    /// It returns `impl Future`.
    Future,
    /// It returns `Pin<Box<dyn Future>>`.
    BoxedFuture,
    /// It returns `impl Stream`.
    Stream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let wrong = "goes on functions and methods that have a body";
        let fork = input.fork();
        if let Ok(function) = fork.parse::<ItemFn>() {
            let _: proc_macro2::TokenStream = input.parse()?;
            return Ok(Self {
                attributes: function.attrs,
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
        match &self.signature.output {
            _ if self.signature.asyncness.is_some() => Shape::Async,
            ReturnType::Type(_, output) => shape_of(output),
            ReturnType::Default => Shape::Plain,
        }
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

fn shape_of(output: &Type) -> Shape {
    let is = |bounds: &syn::punctuated::Punctuated<TypeParamBound, syn::Token![+]>, name: &str| {
        bounds.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|last| last.ident == name),
            _ => false,
        })
    };
    match output {
        Type::ImplTrait(output) if is(&output.bounds, "Future") => Shape::Future,
        Type::ImplTrait(output) if is(&output.bounds, "Stream") => Shape::Stream,
        Type::Path(path) => {
            let inner = argument_of(path, "Pin").and_then(|boxed| match boxed {
                Type::Path(boxed) => argument_of(boxed, "Box"),
                _ => None,
            });
            match inner {
                Some(Type::TraitObject(object)) if is(&object.bounds, "Future") => Shape::BoxedFuture,
                _ => Shape::Plain,
            }
        }
        Type::Paren(inner) => shape_of(&inner.elem),
        _ => Shape::Plain,
    }
}

/// The one argument of a generic type of that name.
fn argument_of<'a>(path: &'a syn::TypePath, name: &str) -> Option<&'a Type> {
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(argument) => Some(argument),
        _ => None,
    })
}
