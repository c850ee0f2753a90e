use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// The batches that ran, in order.
type Ran = Arc<Mutex<Vec<Vec<i32>>>>;

/// A queue whose thread waits at `gate` before each batch and notes the batches.
fn gated(options: QueueOptions) -> (Arc<Queue<i32, i32>>, Arc<Barrier>, Ran) {
    let (gate, seen) = (Arc::new(Barrier::new(2)), Arc::new(Mutex::new(Vec::new())));
    let (waits, notes) = (gate.clone(), seen.clone());
    let run = move |inputs: &[i32]| {
        waits.wait();
        notes.lock().unwrap().push(inputs.to_vec());
        Ok(inputs.iter().map(|i| i * 10).collect())
    };
    (Arc::new(Queue::new("test", options, run).unwrap()), gate, seen)
}

/// Waits, without sleeping, until so many wait in the line.
fn until_waiting(queue: &Queue<i32, i32>, count: usize) {
    while queue.load().waiting != count {
        std::thread::yield_now();
    }
}

/// Has the thread take the input 0 and hold it at the gate.
fn occupy(queue: &Arc<Queue<i32, i32>>) -> std::thread::JoinHandle<Result<Vec<i32>>> {
    let asked = queue.clone();
    let first = std::thread::spawn(move || asked.ask(vec![0], &Caller::default()));
    while queue.load().taken == 0 {
        std::thread::yield_now();
    }
    first
}

#[test]
fn those_who_wait_together_share_a_pass() {
    let (queue, gate, seen) = gated(QueueOptions { batch: 3, waiting: 10, recent: 0 });
    let first = occupy(&queue);
    let asks: Vec<_> = (1..=5)
        .map(|i| {
            let asked = queue.clone();
            let ask = std::thread::spawn(move || asked.ask(vec![i], &Caller::default()));
            until_waiting(&queue, i as usize);
            ask
        })
        .collect();
    (0..3).for_each(|_| _ = gate.wait());
    assert_eq!(first.join().unwrap().unwrap(), [0]);
    for (i, ask) in (1..).zip(asks) {
        assert_eq!(ask.join().unwrap().unwrap(), [i * 10]);
    }
    assert_eq!(*seen.lock().unwrap(), [vec![0], vec![1, 2, 3], vec![4, 5]]);
    assert_eq!((queue.load().batches, queue.load().inputs), (3, 6));
}

#[test]
fn a_full_line_says_when_to_come_back() {
    let (queue, gate, _) = gated(QueueOptions { batch: 64, waiting: 2, recent: 0 });
    let first = occupy(&queue);
    let asked = queue.clone();
    let second = std::thread::spawn(move || asked.ask(vec![1, 2], &Caller::default()));
    until_waiting(&queue, 2);
    let error = queue.ask(vec![3], &Caller::default()).unwrap_err();
    assert!(
        matches!(error, Error::Overloaded { retry, .. } if retry >= Duration::from_millis(50)),
        "{error}"
    );
    assert_eq!(queue.load().refused, 1);
    (0..2).for_each(|_| _ = gate.wait());
    assert_eq!(first.join().unwrap().unwrap(), [0]);
    assert_eq!(second.join().unwrap().unwrap(), [10, 20]);
}

#[test]
fn who_has_left_costs_nothing() {
    let (queue, gate, seen) = gated(QueueOptions { batch: 64, waiting: 10, recent: 0 });
    let first = occupy(&queue);
    let (gone, late) = (Caller::default(), Caller::until(Some(Instant::now() + Duration::from_millis(20))));
    let ask = |input, caller: &Caller| {
        let (asked, caller) = (queue.clone(), caller.clone());
        std::thread::spawn(move || asked.ask(vec![input], &caller))
    };
    let (a, b) = (ask(1, &gone), ask(2, &late));
    until_waiting(&queue, 2);
    let c = ask(3, &Caller::default());
    until_waiting(&queue, 3);
    gone.leave();
    while late.check().is_ok() {
        std::thread::yield_now();
    }
    (0..2).for_each(|_| _ = gate.wait());
    first.join().unwrap().unwrap();
    assert!(matches!(a.join().unwrap(), Err(Error::Cancelled)));
    assert!(matches!(b.join().unwrap(), Err(Error::Late)));
    assert_eq!(c.join().unwrap().unwrap(), [30]);
    assert_eq!(*seen.lock().unwrap(), [vec![0], vec![3]]);
    assert_eq!(queue.load().dropped, 2);
    assert!(matches!(queue.ask(vec![4], &gone), Err(Error::Cancelled)), "not even queued");
}

#[test]
fn a_poisoned_input_costs_only_itself() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let run = move |inputs: &[i32]| {
        while !gate.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert!(!inputs.contains(&13), "thirteen");
        match inputs.contains(&7) {
            true => Err(Error::image("seven")),
            false => Ok(inputs.to_vec()),
        }
    };
    let queue = Arc::new(Queue::new("test", QueueOptions::default(), run).unwrap());
    let first = {
        let asked = queue.clone();
        std::thread::spawn(move || asked.ask(vec![0], &Caller::default()))
    };
    let asks: Vec<_> = [1, 7, 2, 13, 3]
        .into_iter()
        .map(|i| {
            let asked = queue.clone();
            std::thread::spawn(move || asked.ask(vec![i], &Caller::default()))
        })
        .collect();
    open.store(true, Ordering::Release);
    first.join().unwrap().unwrap();
    let said: Vec<String> = asks
        .into_iter()
        .map(|ask| ask.join().unwrap().map_or_else(|e| e.to_string(), |o| format!("{o:?}")))
        .collect();
    assert_eq!([&said[0], &said[2], &said[4]], ["[1]", "[2]", "[3]"]);
    assert_eq!(said[1], "seven");
    assert!(said[3].contains("thirteen"), "{}", said[3]);
    assert_eq!(queue.ask(vec![5], &Caller::default()).unwrap(), [5], "the thread goes on");
}

#[test]
fn a_future_gets_what_a_thread_gets() {
    let (queue, gate, seen) = gated(QueueOptions { batch: 64, waiting: 10, recent: 0 });
    let first = occupy(&queue);
    let gone = Caller::default();
    let (stays, left) =
        (queue.put(vec![1, 2], &Caller::default()).unwrap(), queue.put(vec![3], &gone).unwrap());
    gone.leave();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let waits = gate.clone();
    let opens = std::thread::spawn(move || (0..2).for_each(|_| _ = waits.wait()));
    let (stayed, left) = runtime.block_on(async { (stays.wait().await, left.wait().await) });
    assert_eq!(stayed.unwrap(), [10, 20]);
    assert!(matches!(left, Err(Error::Cancelled)));
    opens.join().unwrap();
    first.join().unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), [vec![0], vec![1, 2]]);
}
