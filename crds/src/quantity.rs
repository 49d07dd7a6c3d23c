//! Sizes in bytes as Kubernetes writes them: `512`, `64Ki`, `10M`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written as a Kubernetes quantity: a whole number and perhaps `k`, `M`, `G`, `T` or `Ki`, `Mi`, `Gi`, `Ti`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

/// Why a text is no [`Quantity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a size: write a whole number of bytes, perhaps with k, M, G, T or Ki, Mi, Gi, Ti, such as 512, 64Ki or 10M"
)]
pub struct InvalidQuantity(String);

/// From the largest to the smallest binary unit, so that printing takes the largest that divides.
const BINARY: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, u64); 4] = [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

impl Quantity {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || InvalidQuantity(text.chars().take(64).collect());
        let (number, unit) = BINARY
            .into_iter()
            .chain(DECIMAL)
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, unit)))
            .unwrap_or((text, 1));
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(invalid)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, unit): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(unit);
        match BINARY.iter().find(fits).or_else(|| DECIMAL.iter().find(fits)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl de::Visitor<'_> for Size {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 512, 64Ki or 10M")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Quantity, E> {
                Ok(Quantity(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Quantity, E> {
                u64::try_from(bytes).map(Quantity).map_err(|_| E::custom(InvalidQuantity(bytes.to_string())))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    /// A number or a text, as Kubernetes' own quantities.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maxLength": 20,
            "pattern": "^[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_kubernetes_sizes() {
        for (text, bytes, written) in [
            ("0", 0, "0"),
            ("512", 512, "512"),
            ("64Ki", 65_536, "64Ki"),
            ("1024", 1_024, "1Ki"),
            ("10M", 10_000_000, "10M"),
            ("2Ti", 2 << 40, "2Ti"),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!((quantity.bytes(), quantity.to_string().as_str()), (bytes, written));
            assert_eq!(written.parse(), Ok(quantity));
        }
    }

    #[test]
    fn a_number_is_bytes() {
        assert_eq!(serde_json::from_str::<Quantity>("1024").unwrap(), Quantity::from_bytes(1024));
    }

    #[test]
    fn refuses_what_is_no_size_and_says_how_to_write_it() {
        for text in ["", "Ki", "1KB", "1.5Mi", "-1", "1 Ki", "99999999999Ti"] {
            let error = text.parse::<Quantity>().unwrap_err().to_string();
            assert!(error.contains("is not a size"), "{error}");
        }
        assert!(serde_json::from_str::<Quantity>("-1").is_err());
    }
}
