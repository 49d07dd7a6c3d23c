//! Arithmetic: integers do not wrap, numbers of different types do not mix, times and durations stay in CEL's range.

use ravelin_snapshot::expression::Function;

use super::EvalError;
use super::budget::Budget;
use super::value::{Blob, Timestamp, Value};

pub(super) fn negate<'a>(operand: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match operand {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(EvalError::Overflow),
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(EvalError::Type),
    }
}

pub(super) fn binary<'a>(
    function: Function,
    left: &Value<'a>,
    right: &Value<'a>,
    budget: &Budget,
) -> Result<Value<'a>, EvalError> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => ints(function, *left, *right).map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => uints(function, *left, *right).map(Value::Uint),
        (Value::Double(left), Value::Double(right)) => doubles(function, *left, *right).map(Value::Double),
        (Value::Bytes(left), Value::Bytes(right)) if function == Function::Add => {
            budget.spend_bytes(left.as_slice().len() + right.as_slice().len())?;
            Ok(Value::Bytes(Blob::Owned([left.as_slice(), right.as_slice()].concat().into())))
        }
        _ => times(function, left, right),
    }
}

/// The same for both types of integers, whose checked operations are in no trait.
macro_rules! integers {
    ($name:ident, $integer:ty) => {
        fn $name(function: Function, left: $integer, right: $integer) -> Result<$integer, EvalError> {
            let result = match function {
                Function::Divide | Function::Remainder if right == 0 => return Err(EvalError::DivisionByZero),
                Function::Add => left.checked_add(right),
                Function::Subtract => left.checked_sub(right),
                Function::Multiply => left.checked_mul(right),
                Function::Divide => left.checked_div(right),
                Function::Remainder => left.checked_rem(right),
                _ => return Err(EvalError::Type),
            };
            result.ok_or(EvalError::Overflow)
        }
    };
}

integers!(ints, i64);
integers!(uints, u64);

fn doubles(function: Function, left: f64, right: f64) -> Result<f64, EvalError> {
    Ok(match function {
        Function::Add => left + right,
        Function::Subtract => left - right,
        Function::Multiply => left * right,
        Function::Divide => left / right,
        _ => return Err(EvalError::Type),
    })
}

fn times<'a>(function: Function, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    let shifted = |time: &Timestamp, nanos: i128| {
        let sum = time.to_nanos().checked_add(nanos);
        sum.and_then(Timestamp::from_nanos).map(Value::Timestamp).ok_or(EvalError::Overflow)
    };
    match (function, left, right) {
        (Function::Add, Value::Timestamp(time), Value::Duration(nanos))
        | (Function::Add, Value::Duration(nanos), Value::Timestamp(time)) => shifted(time, (*nanos).into()),
        (Function::Subtract, Value::Timestamp(time), Value::Duration(nanos)) => shifted(time, -i128::from(*nanos)),
        (Function::Subtract, Value::Timestamp(left), Value::Timestamp(right)) => {
            i64::try_from(left.to_nanos() - right.to_nanos()).map(Value::Duration).map_err(|_| EvalError::Overflow)
        }
        (Function::Add, Value::Duration(left), Value::Duration(right)) => {
            left.checked_add(*right).map(Value::Duration).ok_or(EvalError::Overflow)
        }
        (Function::Subtract, Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration).ok_or(EvalError::Overflow)
        }
        _ => Err(EvalError::Type),
    }
}
