mod formats;
mod look;
mod places;
mod property;
mod read;
mod some;
