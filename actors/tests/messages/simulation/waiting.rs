//! Letters for a name that nobody has while the storm lasts.

use estafette::Node;
use estafette::remote::LetterState;

use super::World;
use super::clerk::Letter;

impl World {
    /// Letters for a name that nobody has, until the storm is over.
    pub(super) async fn for_nobody(&self) {
        let letter = self.lyon.remote::<Letter>("paris/late").unwrap();
        for number in 0.. {
            let delivery = letter.deliver(Letter(number, vec![0; 100])).await.unwrap();
            self.waiting.lock().unwrap().push(delivery.clone());
            delivery.delivered().await.unwrap();
            if !self.goes_on() {
                break;
            }
        }
    }

    /// Those are handled once and in order when somebody has the name.
    pub(super) async fn check_waiting(&self, paris: &Node) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        assert!(waiting.iter().all(|delivery| delivery.state() == LetterState::Delivered));
        self.late.note(|book| book.letters.push(Vec::new()));
        let late = self.late.clone();
        paris.host("late", move || late.clone()).takes::<Letter>().start().await.unwrap();
        for delivery in &waiting {
            delivery.processed().await.unwrap();
        }
        let book = self.late.0.lock().unwrap();
        assert_eq!(book.letters[0], (0..waiting.len() as u64).collect::<Vec<_>>());
    }
}
