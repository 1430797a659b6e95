//! Decisions as a Parquet file: every column may be null, moments are timestamps in UTC with µs.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use kt_core::event::parse_rfc3339;
use kt_core::json::{Scratch, Value, scan};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::{COLUMNS, Column, Content, Records};

/// Rows that are held until they are written together.
const ROW_GROUP_LEN: usize = 65_536;

/// What a column has gathered: its values, and for each row whether it has one.
struct Gathered {
    values: Values,
    there: Vec<i16>,
}

enum Values {
    Texts(Vec<ByteArray>),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Flags(Vec<bool>),
}

pub(super) fn write(mut records: Records, out: impl Write + Send) -> anyhow::Result<()> {
    let fields = COLUMNS.iter().map(|column| field(column).map(Arc::new)).collect::<Result<_, _>>();
    let schema = fields.and_then(|fields| Type::group_type_builder("decision").with_fields(fields).build());
    let schema = schema.context("the columns make no schema")?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut scratch = Scratch::default();
    loop {
        let mut gathered: Vec<Gathered> = COLUMNS.iter().map(Gathered::new).collect();
        let mut rows = 0;
        while rows < ROW_GROUP_LEN
            && let Some(line) = records.next()?
        {
            let record = scan(&line, &mut scratch).map_err(|_| anyhow::anyhow!("a line of the log is damaged"))?;
            for (column, gathered) in COLUMNS.iter().zip(&mut gathered) {
                gathered.push(column.content, column.of(&record));
            }
            rows += 1;
        }
        if rows == 0 {
            break;
        }
        let mut group = writer.next_row_group()?;
        for gathered in gathered {
            let column = group.next_column()?.context("there are as many columns as in the schema")?;
            gathered.write(column)?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

fn field(column: &Column) -> Result<Type, parquet::errors::ParquetError> {
    let (physical, logical) = match column.content {
        Content::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Content::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Content::Integer => (Physical::INT64, None),
        Content::Number => (Physical::DOUBLE, None),
        Content::Flag => (Physical::BOOLEAN, None),
        Content::Moment => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

impl Gathered {
    fn new(column: &Column) -> Self {
        let values = match column.content {
            Content::Text | Content::Json => Values::Texts(Vec::new()),
            Content::Integer | Content::Moment => Values::Integers(Vec::new()),
            Content::Number => Values::Numbers(Vec::new()),
            Content::Flag => Values::Flags(Vec::new()),
        };
        Self { values, there: Vec::new() }
    }

    /// What isn't of the column's type, as a number beyond its range, is none.
    fn push(&mut self, content: Content, value: Option<Value<'_>>) {
        let there = value.is_some_and(|value| match &mut self.values {
            Values::Texts(texts) if content == Content::Json => add(texts, Some(ByteArray::from(value.raw().to_vec()))),
            Values::Texts(texts) => add(texts, value.to_str().map(|text| ByteArray::from(text.as_bytes().to_vec()))),
            Values::Integers(moments) if content == Content::Moment => {
                let ns = value.to_str().and_then(|text| parse_rfc3339(&text));
                add(moments, ns.and_then(|ns| i64::try_from(ns / 1_000).ok()))
            }
            Values::Integers(numbers) => add(numbers, value.to_u64().and_then(|number| i64::try_from(number).ok())),
            Values::Numbers(numbers) => add(numbers, value.to_f64()),
            Values::Flags(flags) => add(flags, value.to_bool()),
        });
        self.there.push(i16::from(there));
    }

    fn write(self, column: SerializedColumnWriter<'_>) -> anyhow::Result<()> {
        match self.values {
            Values::Texts(values) => write_batch::<ByteArrayType>(column, &values, &self.there),
            Values::Integers(values) => write_batch::<Int64Type>(column, &values, &self.there),
            Values::Numbers(values) => write_batch::<DoubleType>(column, &values, &self.there),
            Values::Flags(values) => write_batch::<BoolType>(column, &values, &self.there),
        }
    }
}

fn add<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let there = value.is_some();
    values.extend(value);
    there
}

fn write_batch<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    values: &[T::T],
    there: &[i16],
) -> anyhow::Result<()> {
    column.typed::<T>().write_batch(values, Some(there), None)?;
    column.close()?;
    Ok(())
}
