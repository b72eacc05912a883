//! What secrets look like.

use super::{IsSecret, Meant, judge};

/// What may stand before a secret: the start, anything that is no letter or digit, and what JSON and URLs write for such in texts
/// that are quoted once more. Only ASCII counts: between a letter of Chinese and a Latin one there is no other boundary.
const LEAD: &str = r"(?:^|\\[nrtbf]|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2}|[^A-Za-z0-9])";

/// A pattern with what its capital words stand for.
pub(super) fn filled(pattern: &str) -> String {
    pattern.replace("LEAD", LEAD).replace("NAMED", NAMED)
}

/// Keys and tokens of well-known services, private keys, JSON web tokens, and what is called a password or token.
pub(super) const API_KEYS: &[(&str, Meant)] = &[
    // OpenAI, Anthropic, OpenRouter, DeepSeek, Stripe, Langfuse, PandaProbe and others.
    (
        r"LEAD(?P<secret>(?:sk[-_]|rk[-_]|pk_live_|pk_test_|pk-lf-|xai-|gsk_|r8_|nvapi-|pplx-)[A-Za-z0-9_-]{16,})",
        judge::by_chance,
    ),
    (r"LEAD(?P<secret>AIza[0-9A-Za-z_-]{30,})", judge::all),
    (r"LEAD(?P<secret>(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16})", judge::all),
    (
        r"LEAD(?P<secret>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,})",
        judge::all,
    ),
    (
        r"LEAD(?P<secret>hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
        judge::all,
    ),
    (r"LEAD(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)", judge::all),
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", judge::all),
    (r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'\\]*:(?P<secret>[^\s/@?#"'\\]+)@"#, judge::all),
    (
        r#"(?i)authorization\\*["']?\s*[:=]\s*\\*["']?(?:bearer|basic|token|apikey)\s+(?P<secret>[A-Za-z0-9._~+/-]{4,}=*)"#,
        judge::password,
    ),
    (
        r#"(?i)(?:LEAD(?:bearer|basic)\s+|(?:token|secret)\\*["']?\s*(?:[:=]|%3[AD])\s*\\*["']?)(?P<secret>[A-Za-z0-9._~+/-]{12,}=*)"#,
        judge::by_chance,
    ),
    // Up to the quote that closes, if one was opened.
    (
        r#"(?i)(?:NAMED)(?:"|'|\\+"|\\+')?\s*(?:=>|[:=]|%3[AD])\s*(?:"(?P<quoted>[^"\\\n]*(?:\\.[^"\\\n]*)*)|'(?P<single>[^'\\\n]*(?:\\.[^'\\\n]*)*)|\\+["'](?P<escaped>[^"\\]*(?:\\+[^"\\][^"\\]*)*)|(?P<secret>[^\s"'\\}{]{4,}))"#,
        judge::password,
    ),
];

/// What is called so is a secret, in a text and as a key of an object, whatever stands before.
const NAMED: &str = r"api[_ -]?key|(?:access|secret|private|signing|encryption)[_ -]?key|(?:client|app|webhook)[_-]?secret|(?:auth|access|refresh|session|api|bot|id)[_-]?token|password|passwd|passphrase";

/// Further keys of objects whose values are secrets, and how to tell.
pub(super) const KEYS: &[(&str, IsSecret)] =
    &[("NAMED|authorization|cookie", judge::is_password), ("token|secret", judge::is_by_chance)];

pub(super) const EMAILS: &[(&str, Meant)] = &[(
    r"(?i)(?:\\[nrtbf]|\\u[0-9a-f]{4}|%[0-9a-f]{2})?(?P<secret>[\p{Latin}\p{Greek}\p{Cyrillic}0-9_][\p{Latin}\p{Greek}\p{Cyrillic}0-9._%+'-]*(?:@|%40)[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.(?:[a-z]{2,}|xn--[a-z0-9-]+))",
    judge::all,
)];

/// Digits in groups, not behind the point of a number.
pub(super) const CARDS: &[(&str, Meant)] = &[(
    r"(?:^\.?|\\[nrtbf]|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2}|[^A-Za-z0-9.]|[^A-Za-z0-9]\.|[A-Za-z]\.)(?P<secret>\d(?:[ -]?\d){12,})",
    judge::cards,
)];

/// With a country code, or in the form of North America.
pub(super) const PHONES: &[(&str, Meant)] = &[
    (
        r"(?:^|\\[nrtbf]|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2}|[^A-Za-z0-9+])(?P<secret>(?:\+|%2[Bb])[1-9](?:[ .()-]{0,2}\d){7,24})",
        judge::international,
    ),
    (r"LEAD(?P<secret>(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4})", judge::north_american),
];
