//! Conversions: `int(..)`, `string(..)` and their kin. What has no value in the other type is an error.

use std::sync::Arc;

use ravelin_snapshot::expression::Function;
use ravelin_snapshot::expression::time::{self, NANOS};

use super::EvalError;
use super::budget::Budget;
use super::calendar::fraction;
use super::value::{Blob, Text, Timestamp, Value};

pub(super) fn convert<'a>(function: Function, value: Value<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    match (function, value) {
        (Function::ToInt, value) => int(&value).map(Value::Int),
        (Function::ToUint, value) => uint(&value).map(Value::Uint),
        (Function::ToDouble, value) => double(&value).map(Value::Double),
        (Function::ToBool, value) => bool(&value).map(Value::Bool),
        (Function::ToString, Value::Text(text)) => Ok(Value::Text(text)),
        (Function::ToString, value) => text(&value, budget).map(Value::Text),
        (Function::ToBytes, value) => bytes(value, budget),
        (Function::ToTimestamp, value) => timestamp(&value).map(Value::Timestamp),
        (Function::ToDuration, Value::Duration(nanos)) => Ok(Value::Duration(nanos)),
        (Function::ToDuration, Value::Text(text)) => {
            time::parse_duration(text.as_str()).map(Value::Duration).ok_or(EvalError::Conversion)
        }
        _ => Err(EvalError::Type),
    }
}

#[allow(clippy::cast_possible_truncation)] // of what is in range
fn int(value: &Value<'_>) -> Result<i64, EvalError> {
    const END: f64 = 9_223_372_036_854_775_808.0; // 2^63: neither it nor its negative converts (CEL)
    match value {
        Value::Int(number) => Ok(*number),
        Value::Uint(number) => i64::try_from(*number).map_err(|_| EvalError::Overflow),
        Value::Double(number) if *number > -END && *number < END => Ok(*number as i64),
        Value::Double(_) => Err(EvalError::Overflow),
        Value::Text(text) => text.as_str().parse().map_err(|_| EvalError::Conversion),
        Value::Timestamp(time) => Ok(time.seconds),
        _ => Err(EvalError::Type),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of what is in range
fn uint(value: &Value<'_>) -> Result<u64, EvalError> {
    const END: f64 = 18_446_744_073_709_551_616.0; // 2^64
    match value {
        Value::Uint(number) => Ok(*number),
        Value::Int(number) => u64::try_from(*number).map_err(|_| EvalError::Overflow),
        Value::Double(number) if *number >= 0.0 && *number < END => Ok(*number as u64),
        Value::Double(_) => Err(EvalError::Overflow),
        Value::Text(text) => text.as_str().parse().map_err(|_| EvalError::Conversion),
        _ => Err(EvalError::Type),
    }
}

#[allow(clippy::cast_precision_loss)] // what a double cannot hold is rounded (CEL)
fn double(value: &Value<'_>) -> Result<f64, EvalError> {
    match value {
        Value::Double(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Uint(number) => Ok(*number as f64),
        Value::Text(text) => text.as_str().parse().map_err(|_| EvalError::Conversion),
        _ => Err(EvalError::Type),
    }
}

fn bool(value: &Value<'_>) -> Result<bool, EvalError> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) => match text.as_str() {
            "1" | "t" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(EvalError::Conversion),
        },
        _ => Err(EvalError::Type),
    }
}

fn text<'a>(value: &Value<'a>, budget: &Budget) -> Result<Text<'a>, EvalError> {
    Ok(match value {
        Value::Bool(value) => Text::Borrowed(if *value { "true" } else { "false" }),
        Value::Int(number) => Text::print(number),
        Value::Uint(number) => Text::print(number),
        Value::Double(number) => Text::print(number),
        Value::Timestamp(time) => Text::print(time.to_rfc3339()),
        Value::Duration(nanos) => {
            let sign = if *nanos < 0 { "-" } else { "" };
            let (seconds, rest) = (nanos.unsigned_abs() / NANOS.unsigned_abs(), nanos % NANOS);
            Text::print(format_args!("{sign}{seconds}{}s", fraction(u32::try_from(rest.unsigned_abs()).unwrap_or(0))))
        }
        Value::Bytes(bytes) => {
            budget.spend_bytes(bytes.as_slice().len())?;
            match bytes {
                Blob::Borrowed(bytes) => Text::Borrowed(std::str::from_utf8(bytes).map_err(|_| EvalError::Conversion)?),
                Blob::Owned(bytes) => {
                    Text::Owned(std::str::from_utf8(bytes).map_err(|_| EvalError::Conversion)?.into())
                }
            }
        }
        _ => return Err(EvalError::Type),
    })
}

fn bytes<'a>(value: Value<'a>, budget: &Budget) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes)),
        Value::Text(Text::Borrowed(text)) => Ok(Value::Bytes(Blob::Borrowed(text.as_bytes()))),
        Value::Text(text) => {
            budget.spend_bytes(text.as_str().len())?;
            Ok(Value::Bytes(Blob::Owned(Arc::from(text.as_str().as_bytes()))))
        }
        _ => Err(EvalError::Type),
    }
}

fn timestamp(value: &Value<'_>) -> Result<Timestamp, EvalError> {
    match value {
        Value::Timestamp(time) => Ok(*time),
        Value::Int(seconds) => {
            Timestamp::from_nanos(i128::from(*seconds) * i128::from(NANOS)).ok_or(EvalError::Conversion)
        }
        Value::Text(text) => {
            let (seconds, nanos) = time::parse_timestamp(text.as_str()).ok_or(EvalError::Conversion)?;
            Ok(Timestamp { seconds, nanos })
        }
        _ => Err(EvalError::Type),
    }
}
