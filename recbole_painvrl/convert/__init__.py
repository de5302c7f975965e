"""Raw multimedia recommendation data to RecBole atomic files."""

from recbole_painvrl.convert.command import FORMATS, add_arguments, convert, run

__all__ = ["FORMATS", "add_arguments", "convert", "run"]
