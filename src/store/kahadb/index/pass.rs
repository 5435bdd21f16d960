//! Changing the tree: one pass from left to right applies a whole sorted batch.
//!
//! ```text
//! branch    [ a | b | c | d ]        changes: all below b's end, and one in d
//!             |   |   |   |
//!             v   v   |   v          a and b are merged with the changes and packed again, c is
//!           (rewritten)  (rewritten) not even read, the branch only if its list of children
//!                                    became another
//! ```
//!
//! Each page is read at most once and written at most once, but for a small rest at the end of a
//! branch, which joins the page before it. A page less than a quarter full joins a neighbour under
//! the same branch if there is room.

use std::sync::Arc;

use super::changes::{Change, Sorted};
use super::meta::HEIGHT_MAX;
use super::packer::{Child, Packer};
use super::page::{HEADER_BYTES, Kind, Page, PageBuilder, PageNumber, Value, encode_chain};
use super::pages::View;
use super::redo::Staging;
use super::storage::PageFile;
use super::{DATA, Damage, IndexError};

/// What a batch changes, while it does.
pub(super) struct Pass<'a, 'p, F> {
    pub(super) view: View<'p, F>,
    pub(super) staging: &'a mut Staging<'p, F>,
    pub(super) changes: Sorted<'a>,
    pub(super) page_bytes: usize,
    pub(super) rows: u64,
}

impl<F: PageFile> Pass<'_, '_, F> {
    /// Applies all changes; returns the new root and height.
    pub(super) fn run(&mut self) -> Result<(PageNumber, u8), IndexError> {
        let (root, mut height) = (self.view.version.root, self.view.version.height);
        let mut top = if height == 0 {
            height = 1;
            let mut leaf = Packer::new(Kind::Leaf, self.page_bytes);
            leaf.begin(&[], None);
            self.merge(None, None, &mut leaf)?;
            leaf.flush(self.staging)?;
            leaf.into_children()
        } else {
            let root = Child { separator: Vec::new(), page: root, new: false };
            self.siblings(vec![root], None, height)?
        };
        self.changes.must_be_over()?;
        while top.len() > 1 {
            let mut branch = Packer::new(Kind::Branch, self.page_bytes);
            branch.begin(&[], None);
            self.fill(&mut branch, top)?;
            branch.flush(self.staging)?;
            top = branch.into_children();
            height += 1;
            if height > HEIGHT_MAX {
                return Err(IndexError::Full);
            }
        }
        match top.pop() {
            Some(root) => self.shrink(root.page, height),
            None => Ok((0, 0)),
        }
    }

    /// A branch with one child is no root.
    fn shrink(
        &mut self,
        mut root: PageNumber,
        mut height: u8,
    ) -> Result<(PageNumber, u8), IndexError> {
        while height > 1 {
            let page = self.read(root, height)?;
            if page.count() > 0 {
                break;
            }
            self.staging.release(root)?;
            (root, height) = (page.child(0), height - 1);
        }
        Ok((root, height))
    }

    /// Applies the changes below `upper` to neighbours of one `level` under one branch; returns
    /// what takes their place.
    fn siblings(
        &mut self,
        children: Vec<Child>,
        upper: Option<&[u8]>,
        level: u8,
    ) -> Result<Vec<Child>, IndexError> {
        let kind = if level == 1 { Kind::Leaf } else { Kind::Branch };
        let mut packer = Packer::new(kind, self.page_bytes);
        let mut children = children.into_iter().peekable();
        while let Some(child) = children.next() {
            let next = children.peek().map(|next| next.separator.clone());
            let upper = next.as_deref().or(upper);
            if !self.changes.begin_before(upper)? {
                self.pass_by(child, level, &mut packer)?;
                continue;
            }
            let page = self.read(child.page, level)?;
            let alone = packer.is_empty();
            let changed = match kind {
                Kind::Leaf => {
                    packer.begin(&child.separator, Some(child.page));
                    self.merge(Some(&page), upper, &mut packer)?
                }
                _ => self.descend(&child, &page, upper, level, &mut packer)?,
            };
            if !changed && alone {
                packer.discard();
                packer.keep(child);
            } else if packer.is_empty() || packer.is_worth_a_page() {
                packer.flush(self.staging)?;
            }
        }
        self.finish(packer, level)
    }

    /// A child without changes stays as it is, unless a small rest before it finds room there.
    fn pass_by(&mut self, child: Child, level: u8, packer: &mut Packer) -> Result<(), IndexError> {
        if !packer.is_empty() {
            let page = self.read(child.page, level)?;
            let joins = packer.fits_with(&page, &child.separator);
            if joins {
                packer.begin(&child.separator, Some(child.page));
                packer.copy(&page, &child.separator);
            }
            packer.flush(self.staging)?;
            if joins {
                return Ok(());
            }
        }
        packer.keep(child);
        Ok(())
    }

    /// Applies changes to the children of branch `page`, whose own content then goes to `packer`;
    /// false if it is the same.
    fn descend(
        &mut self,
        child: &Child,
        page: &Page,
        upper: Option<&[u8]>,
        level: u8,
        packer: &mut Packer,
    ) -> Result<bool, IndexError> {
        let before = children_of(page, &child.separator);
        let after = self.siblings(before.clone(), upper, level - 1)?;
        packer.begin(&child.separator, Some(child.page));
        let changed = before != after;
        self.fill(packer, after)?;
        Ok(changed)
    }

    fn fill(&mut self, packer: &mut Packer, children: Vec<Child>) -> Result<(), IndexError> {
        for child in children {
            let page = child.page.to_le_bytes();
            packer.push(&[], &child.separator, &page, false, child.new, self.staging)?;
        }
        Ok(())
    }

    /// Writes the rest; a small one joins the page before it.
    fn finish(&mut self, mut packer: Packer, level: u8) -> Result<Vec<Child>, IndexError> {
        if !packer.is_empty()
            && let Some(last) = packer.last().cloned()
        {
            let page = self.read(last.page, level)?;
            if packer.fits_with(&page, &last.separator) {
                packer.join_last(&page, self.staging)?;
            }
        }
        packer.flush(self.staging)?;
        Ok(packer.into_children())
    }

    /// Merges the rows of `leaf` with the changes below `upper`; false if no row changed.
    fn merge(
        &mut self,
        leaf: Option<&Page>,
        upper: Option<&[u8]>,
        packer: &mut Packer,
    ) -> Result<bool, IndexError> {
        let (mut row, mut changed) = (0, false);
        while let Some(change) = self.changes.current_before(upper)? {
            let (at, found) = leaf.map_or((0, false), |leaf| leaf.search(change.begin()));
            if let Some(leaf) = leaf {
                packer.copy_rows(leaf, row, at);
            }
            row = at;
            // The row that the change replaces or removes.
            let old = leaf.filter(|_| found).map(|leaf| leaf.value(at));
            match change {
                Change::Put { value, .. } if old == Some(Value::Here(value)) => {}
                Change::Put { key, value } => {
                    match old {
                        Some(old) => release_chain(&self.view, self.staging, old)?,
                        None => self.rows += 1,
                    }
                    row += usize::from(found);
                    changed = true;
                    let new = !found;
                    if value.len() <= self.page_bytes / 4 {
                        packer.push(&[], key, value, false, new, self.staging)?;
                    } else {
                        let chain = write_chain(self.staging, self.page_bytes, value)?;
                        packer.push(&[], key, &chain, true, new, self.staging)?;
                    }
                }
                Change::Delete { .. } => {
                    if let Some(old) = old {
                        release_chain(&self.view, self.staging, old)?;
                        self.rows = self.rows.saturating_sub(1);
                        row += 1;
                        changed = true;
                    }
                }
                Change::DeleteRange { to, .. } => {
                    let end = leaf.map_or(0, |leaf| leaf.search(to).0);
                    while let Some(leaf) = leaf.filter(|_| row < end) {
                        release_chain(&self.view, self.staging, leaf.value(row))?;
                        self.rows = self.rows.saturating_sub(1);
                        row += 1;
                        changed = true;
                    }
                    if upper.is_some_and(|upper| to > upper) {
                        break; // it goes on in the next leaf
                    }
                }
            }
            self.changes.advance();
        }
        if let Some(leaf) = leaf {
            packer.copy_rows(leaf, row, leaf.count());
        }
        Ok(changed)
    }

    /// A page as this pass has it now.
    fn read(&self, number: PageNumber, level: u8) -> Result<Arc<Page>, IndexError> {
        match self.staging.get(number)? {
            Some(page) => Ok(page),
            None => self.view.node(number, level),
        }
    }
}

/// The children of a branch that begins at `separator`.
pub(super) fn children_of(page: &Page, separator: &[u8]) -> Vec<Child> {
    let mut children = Vec::with_capacity(page.count() + 1);
    children.push(Child { separator: separator.to_vec(), page: page.child(0), new: false });
    for i in 0..page.count() {
        let mut separator = Vec::with_capacity(page.prefix().len() + page.rest(i).len());
        page.key_into(i, &mut separator);
        children.push(Child { separator, page: page.child(i + 1), new: false });
    }
    children
}

/// Puts `value` into overflow pages; returns what the leaf keeps.
fn write_chain<F: PageFile>(
    staging: &mut Staging<'_, F>,
    page_bytes: usize,
    value: &[u8],
) -> Result<[u8; 8], IndexError> {
    let mut next = 0;
    // From the end, so that each page can name the one after it.
    for part in value.chunks(page_bytes - HEADER_BYTES).rev() {
        let mut page = PageBuilder::new(page_bytes, Kind::Overflow, &[]);
        page.payload(part);
        page.next(next);
        next = staging.allocate()?;
        staging.put(next, page)?;
    }
    Ok(encode_chain(value.len() as u32, next))
}

/// Gives back the overflow pages of a value that goes.
fn release_chain<F: PageFile>(
    view: &View<'_, F>,
    staging: &mut Staging<'_, F>,
    value: Value<'_>,
) -> Result<(), IndexError> {
    let Value::Chain { first, .. } = value else { return Ok(()) };
    let mut number = first;
    while number != 0 {
        let next = view.chain(number)?.next();
        // A chain that runs in a circle ends here, as damage.
        staging.release(number).map_err(|e| match e {
            IndexError::Damaged(damage) => Damage { file: DATA, ..damage }.into(),
            other => other,
        })?;
        number = next;
    }
    Ok(())
}
